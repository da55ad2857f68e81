"""Where the addresses of Services lead."""

import pytest
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForZone
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.proxy.forwarding import Backend, Frontend, forwards, service_of

NODE = "127.16.0.1"


def service(*ports: ServicePort, cluster_ip: str = "127.18.0.5", kind: str = "ClusterIP", lb: str = "") -> Service:
    ingress = [LoadBalancerIngress(ip=lb)] if lb else None
    return Service(
        metadata=ObjectMeta(name="web", namespace="shop"),
        spec=ServiceSpec(ports=list(ports), clusterIP=cluster_ip, type=kind),
        status=ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress)),
    )


def piece(port: EndpointPort, *addresses: str, ready: bool | None = True, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="x", namespace="shop", labels={"kubernetes.io/service-name": "web"}),
        addressType=family,
        ports=[port],
        endpoints=[Endpoint(addresses=[a], conditions=EndpointConditions(ready=ready)) for a in addresses],
    )


WEB = ServicePort(name="http", port=80)
HTTP = EndpointPort(name="http", port=8080, protocol="TCP")
CLUSTER = Frontend("TCP", "127.18.0.5", 80)


@pytest.mark.parametrize(
    ("given", "slices", "expected"),
    [
        (service(WEB), [], {}),
        (service(WEB), [piece(HTTP, "127.17.0.2")], {CLUSTER: (Backend("127.17.0.2", 8080),)}),
        (service(WEB), [piece(HTTP, "127.17.0.2", ready=False)], {}),
        (service(WEB), [piece(HTTP, "127.17.0.2", ready=None)], {CLUSTER: (Backend("127.17.0.2", 8080),)}),
        (service(WEB), [piece(EndpointPort(name="other", port=1), "127.17.0.2")], {}),
        (service(WEB), [piece(EndpointPort(name="http", port=1, protocol="UDP"), "127.17.0.2")], {}),
        (service(WEB), [piece(HTTP, "fd00::1", family="IPv6")], {}),
        (
            service(WEB),
            [piece(HTTP, "127.17.0.2"), piece(EndpointPort(name="http", port=15443), "127.17.0.9", "127.17.0.2")],
            {CLUSTER: (Backend("127.17.0.2", 8080), Backend("127.17.0.2", 15443), Backend("127.17.0.9", 15443))},
        ),
        (
            service(ServicePort(port=53, protocol="UDP")),
            [piece(EndpointPort(port=15053, protocol="UDP"), "127.17.0.2")],
            {Frontend("UDP", "127.18.0.5", 53): (Backend("127.17.0.2", 15053),)},
        ),
        (
            service(ServicePort(name="http", port=80, nodePort=30080), kind="LoadBalancer", lb="127.19.0.10"),
            [piece(HTTP, "127.17.0.2")],
            dict.fromkeys(
                [CLUSTER, Frontend("TCP", "127.19.0.10", 80), Frontend("TCP", NODE, 30080)],
                (Backend("127.17.0.2", 8080),),
            ),
        ),
        (service(WEB, cluster_ip="None"), [piece(HTTP, "127.17.0.2")], {}),
        (service(WEB, kind="ExternalName"), [piece(HTTP, "127.17.0.2")], {}),
    ],
    ids=[
        "no endpoints",
        "one",
        "not ready",
        "readiness unknown",
        "another port",
        "another protocol",
        "another family",
        "several slices",
        "udp, no name",
        "load balancer",
        "headless",
        "external name",
    ],
)
def test_forwards(given: Service, slices: list[EndpointSlice], expected: dict[Frontend, tuple[Backend, ...]]) -> None:
    """Each address leads to the ready endpoints of all slices, matched by port name; without any it is left out."""
    assert forwards(given, slices, node_address=NODE) == expected


def hinted(**zones_of: list[str]) -> EndpointSlice:
    """A slice of endpoints, each with the zones of its hints: ``a2`` is 127.17.0.2 and ready, ``b2`` is not."""
    made = piece(HTTP)
    made.endpoints = [
        Endpoint(
            addresses=[f"127.17.0.{name[1:]}"],
            hints=EndpointHints(forZones=[ForZone(name=zone) for zone in zones]),
            conditions=EndpointConditions(ready=name[0] == "a"),
        )
        for name, zones in zones_of.items()
    ]
    return made


@pytest.mark.parametrize(
    ("zone", "slices", "expected"),
    [
        ("east", [hinted(a2=["east"]), hinted(a3=["west"])], {2}),
        ("west", [hinted(a2=["east"], a3=["west", "north"], a4=["north", "west"])], {3, 4}),
        ("south", [hinted(a2=["east"], a3=["west"])], {2, 3}),
        ("", [hinted(a2=["east"], a3=["west"])], {2, 3}),
        ("east", [hinted(a2=["east"]), hinted(a3=[])], {2, 3}),
        ("east", [hinted(a2=["east"]), piece(HTTP, "127.17.0.3")], {2, 3}),
        ("east", [hinted(b2=["east"], a3=["west"], a4=["north"])], {3, 4}),
        ("east", [hinted(a2=["east"], a3=["west"], b4=[])], {2}),
    ],
    ids=[
        "of this zone",
        "of several zones",
        "none of this zone",
        "a node without zone",
        "one with an empty hint",
        "one without hint",
        "the one of this zone is not ready",
        "the one without hint is not ready",
    ],
)
def test_zones(zone: str, slices: list[EndpointSlice], expected: set[int]) -> None:
    """Only endpoints meant for the node's zone count, if a ready one is, and no ready one says nothing of its zone.

    Source: Kubernetes documentation, "Topology Aware Routing", "Implementation: kube-proxy" and "Safeguards".
    """
    found = forwards(service(WEB), slices, node_address=NODE, zone=zone)
    assert found == {CLUSTER: tuple(Backend(f"127.17.0.{number}", 8080) for number in sorted(expected))}


def test_whose_a_slice_is() -> None:
    """A slice belongs to the Service that its label names, whoever manages it."""
    assert service_of(piece(HTTP)) == "web"
    assert service_of(EndpointSlice(metadata=ObjectMeta(name="x"), addressType="IPv4", endpoints=[])) is None
