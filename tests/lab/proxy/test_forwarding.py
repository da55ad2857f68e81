"""Where the addresses of Services lead."""

import pytest
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
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


def test_whose_a_slice_is() -> None:
    """A slice belongs to the Service that its label names, whoever manages it."""
    assert service_of(piece(HTTP)) == "web"
    assert service_of(EndpointSlice(metadata=ObjectMeta(name="x"), addressType="IPv4", endpoints=[])) is None
