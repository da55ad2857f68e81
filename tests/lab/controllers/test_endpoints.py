"""EndpointSlices as a function of a Service and its pods."""

from datetime import UTC, datetime

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    PodCondition,
    PodSpec,
    PodStatus,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.discovery_v1 import EndpointConditions, EndpointHints, ForZone
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Service

from isthmus.lab.controllers.endpoints import MANAGED_BY, SERVICE_LABEL, slices_for, target_number
from isthmus.lab.controllers.endpointslice import selects

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(*ports: ServicePort, selector: dict[str, str] | None = None, headless: bool = False) -> Service:
    return Service(
        metadata=ObjectMeta(name="web", namespace="shop", uid="service-uid", labels={"team": "a"}),
        spec=ServiceSpec(ports=list(ports), selector=selector or {"app": "web"}, clusterIP="None" if headless else ""),
    )


def pod(
    name: str, address: str | None, *, ready: bool = True, deleted: bool = False, ports: dict[str, int] | None = None
) -> Pod:
    named = [ContainerPort(name=port, containerPort=number) for port, number in (ports or {}).items()]
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            labels={"app": "web"},
            deletionTimestamp=NOW if deleted else None,
        ),
        spec=PodSpec(containers=[Container(name="c", ports=named)], nodeName="node"),
        status=PodStatus(
            podIP=address,
            phase="Running",
            conditions=[PodCondition(type="Ready", status="True" if ready else "False", lastTransitionTime=NOW)],
        ),
    )


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (ServicePort(port=80), 80),
        (ServicePort(port=80, targetPort=8080), 8080),
        (ServicePort(port=80, targetPort="http"), 9000),
        (ServicePort(port=80, targetPort="none"), None),
        (ServicePort(port=80, targetPort="http", protocol="UDP"), None),
    ],
    ids=["the same", "by number", "by name", "no such name", "a name of another protocol"],
)
def test_target_port(port: ServicePort, expected: int | None) -> None:
    """A target port is resolved by number or by the name that the pod gives it."""
    assert target_number(port, pod("a", "127.1.0.2", ports={"http": 9000})) == expected


@pytest.mark.parametrize(
    ("ready", "deleted", "expected"),
    [
        (True, False, EndpointConditions(ready=True, serving=True, terminating=False)),
        (False, False, EndpointConditions(ready=False, serving=False, terminating=False)),
        (True, True, EndpointConditions(ready=False, serving=True, terminating=True)),
    ],
    ids=["ready", "not ready", "terminating"],
)
def test_conditions(*, ready: bool, deleted: bool, expected: EndpointConditions) -> None:
    """A terminating pod is not ready but may still serve."""
    (piece,) = slices_for(service(ServicePort(port=80)), [pod("a", "127.1.0.2", ready=ready, deleted=deleted)])
    assert [endpoint.conditions for endpoint in piece.endpoints or []] == [expected]


@pytest.mark.parametrize(
    ("distribution", "zone", "ready", "expected"),
    [
        ("PreferClose", "east", True, EndpointHints(forZones=[ForZone(name="east")])),
        ("PreferSameZone", "east", True, EndpointHints(forZones=[ForZone(name="east")])),
        (None, "east", True, None),
        ("PreferClose", "", True, None),
        ("PreferClose", "east", False, None),
    ],
    ids=["close", "same zone", "no preference", "a node without zone", "not ready"],
)
def test_hints(distribution: str | None, zone: str, expected: EndpointHints | None, *, ready: bool) -> None:
    """An endpoint has the zone of its node, and is meant for callers of that zone if its Service prefers so."""
    wanted = service(ServicePort(port=80))
    assert wanted.spec is not None
    wanted.spec.trafficDistribution = distribution
    (piece,) = slices_for(
        wanted, [pod("a", "127.1.0.2", ready=ready)], zone_of=lambda node: zone if node == "node" else ""
    )
    assert [(each.zone, each.hints) for each in piece.endpoints or []] == [(zone or None, expected)]


def test_one_slice_for_each_way_the_ports_resolve() -> None:
    """Pods that give a port name different numbers are in different slices."""
    pods = [pod("a", "127.1.0.2", ports={"http": 1}), pod("b", "127.1.0.3", ports={"http": 2})]
    pieces = slices_for(service(ServicePort(port=80, targetPort="http", name="web")), pods)
    found = {(piece.ports or [])[0].port: [e.addresses for e in piece.endpoints or []] for piece in pieces}
    assert found == {1: [["127.1.0.2"]], 2: [["127.1.0.3"]]}
    assert len({piece.metadata.name for piece in pieces if piece.metadata}) == 2


def test_a_slice_holds_a_hundred() -> None:
    """More endpoints than fit go into further slices, each under a name of its own."""
    pods = [pod(f"p{number:03}", f"127.1.0.{number}") for number in range(1, 151)]
    pieces = slices_for(service(ServicePort(port=80)), pods)
    assert [len(piece.endpoints or []) for piece in pieces] == [100, 50]
    assert len({piece.metadata.name for piece in pieces if piece.metadata}) == 2


def test_a_service_without_pods_has_an_empty_slice() -> None:
    """There is one slice at least, and it says whose it is."""
    (piece,) = slices_for(service(ServicePort(port=80)), [pod("no-address", None)])
    assert piece.endpoints == []
    assert piece.metadata is not None
    assert piece.metadata.labels == {
        "team": "a",
        SERVICE_LABEL: "web",
        MANAGED_BY: "endpointslice-controller.k8s.io",
    }
    assert [(o.kind, o.uid, o.controller) for o in piece.metadata.ownerReferences or []] == [
        ("Service", "service-uid", True)
    ]


def test_the_same_pods_give_the_same_slices() -> None:
    """The order in which pods come does not matter."""
    pods = [pod("a", "127.1.0.2"), pod("b", "127.1.0.3")]
    wanted = service(ServicePort(port=80))
    assert slices_for(wanted, pods) == slices_for(wanted, pods[::-1])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [({"app": "web"}, True), ({"app": "web", "tier": "x"}, False), ({}, False)],
    ids=["chosen", "a label more", "no selector"],
)
def test_selector(selector: dict[str, str], *, expected: bool) -> None:
    """A Service without a selector chooses nothing."""
    chosen = service(ServicePort(port=80))
    assert chosen.spec is not None
    chosen.spec.selector = selector
    assert selects(chosen, pod("a", "127.1.0.2")) is expected
