"""Where an ingress gateway is reached."""

from typing import Any

import pytest
from tests.doctor.linking.meshes import mesh, service

from isthmus.doctor.linking.addresses import NotYet, Remote, Unreachable, remote


def node(ready: str = "True", **addresses: str) -> dict[str, Any]:
    listed = [{"type": kind, "address": address} for kind, address in addresses.items()]
    return {"status": {"conditions": [{"type": "Ready", "status": ready}], "addresses": listed}}


def balancer(*entries: dict[str, str]) -> dict[str, Any]:
    return service("in", loadBalancer={"ingress": list(entries)})


def of_type(kind: str, **spec: Any) -> dict[str, Any]:
    made = service("in", {"service": {"type": kind}})
    made["spec"].update(spec)
    return made


def moved(port: int, **ports: int) -> dict[str, Any]:
    """A load balancer on other ports."""
    made = balancer({"ip": "1.1.1.1"})
    made["spec"]["ports"] = [
        {"port": port, "targetPort": 8188},
        {"port": 443, "targetPort": 15443},
        {"port": 8188, "targetPort": 1},
    ]
    return made


KNOWN = [
    (balancer({"ip": "1.1.1.1"}), Remote(("1.1.1.1",))),
    (balancer({"hostname": "lb.example.com"}), Remote(("lb.example.com",))),
    (balancer({"ip": "1.1.1.1", "hostname": "lb.example.com"}), Remote(("1.1.1.1",))),
    (balancer({"ip": "2.2.2.2"}, {"ip": "1.1.1.1"}), Remote(("1.1.1.1", "2.2.2.2"))),
    (moved(9000), Remote(("1.1.1.1",), 9000, 443)),
    (of_type("ClusterIP", externalIPs=["3.3.3.3"]), Remote(("3.3.3.3",))),
    (of_type("NodePort"), Remote(("5.5.5.5",), 30188, 30443)),
    (of_type("NodePort", externalIPs=["3.3.3.3"]), Remote(("3.3.3.3",))),
]


@pytest.mark.parametrize(("found", "expected"), KNOWN)
def test_a_service_says_where_it_is_reached(found: Any, expected: Remote) -> None:
    """By its load balancer, by external addresses, or by the nodes that are ready, external addresses first."""
    nodes = (node(ExternalIP="5.5.5.5", InternalIP="10.0.0.5"), node("False", ExternalIP="6.6.6.6"))
    owner = mesh("green", services={"in": found}, nodes=nodes)
    assert remote(owner, "in", caller=mesh("red"), given=()) == expected


def test_nodes_without_external_addresses_are_reached_by_internal_ones() -> None:
    """All of them that are ready."""
    owner = mesh("green", services={"in": of_type("NodePort")}, nodes=(node(InternalIP="b"), node(InternalIP="a")))
    assert remote(owner, "in", caller=mesh("red"), given=()) == Remote(("a", "b"), 30188, 30443)


NOT_YET = [
    ({}, "does not exist yet"),
    ({"in": balancer()}, "has no address yet"),
    ({"in": service("in", loadBalancer={})}, "has no address yet"),
    ({"in": of_type("NodePort", ports=[{"port": 8188}, {"port": 15443}])}, "has no node ports yet"),
    ({"in": of_type("NodePort")}, "has no address yet"),
]


@pytest.mark.parametrize(("services", "why"), NOT_YET)
def test_an_address_that_is_not_known_yet(services: Any, why: str) -> None:
    """The reason names the Service."""
    found = remote(mesh("green", services=services), "in", caller=mesh("red"), given=())
    assert found == NotYet(f"Service green-system/in {why}")


def test_given_addresses_go_before_those_of_the_service() -> None:
    """The ports are still those of the Service, if it is there."""
    owner = mesh("green", services={"in": of_type("NodePort")})
    assert remote(owner, "in", caller=mesh("red"), given=["x"]) == Remote(("x",), 30188, 30443)
    assert remote(mesh("green"), "in", caller=mesh("red"), given=["x"]) == Remote(("x",))


def test_a_service_for_the_inside_is_not_reached_from_outside() -> None:
    """Waiting would not help, so it is an error that says what would."""
    owner = mesh("green", services={"in": of_type("ClusterIP")})
    with pytest.raises(Unreachable, match="make it a LoadBalancer or NodePort"):
        remote(owner, "in", caller=mesh("red"), given=())


def test_ports_that_are_the_default_are_left_out() -> None:
    """The remote is hashed as it is written."""
    assert Remote(("a",)).to_json() == {"addresses": ["a"]}
    assert Remote(("a",), 1, 2).to_json() == {"addresses": ["a"], "discoveryPort": 1, "servicePort": 2}
