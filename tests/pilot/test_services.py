"""Services and EndpointSlices as federation's values. Source: Kubernetes API, Service and EndpointSlice."""

from typing import Any

import msgspec
import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.exports import LocalPort
from isthmus.federation.messages import Locality
from isthmus.federation.plan import Endpoint
from isthmus.federation.selection import QualifiedName
from isthmus.pilot.services import local_service, locality, ready_endpoints

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def service(*ports: dict[str, Any], **metadata: Any) -> Service:
    """A Service with these ports."""
    spec = {"ports": list(ports), **metadata.pop("spec", {})}
    return msgspec.convert(
        {"metadata": {"name": "ratings", "namespace": "bookinfo", **metadata}, "spec": spec}, Service
    )


def endpoint_slice(
    *endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None, family: str = "IPv4", managed_by: str = ""
) -> EndpointSlice:
    """A slice of the Service."""
    metadata = {"name": "ratings-1", "namespace": "bookinfo", "labels": {MANAGED_BY: managed_by}}
    default = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    document = {"metadata": metadata, "addressType": family, "endpoints": list(endpoints)}
    return msgspec.convert({**document, "ports": default if ports is None else ports}, EndpointSlice)


HTTP = {"name": "http", "port": 80}
POD = {"addresses": ["10.0.0.1"]}


def conditions(**values: bool) -> dict[str, Any]:
    return {"addresses": ["10.0.0.1"], "conditions": values}


REACHED = [Endpoint("10.0.0.1", 8080)]
CASES: dict[str, tuple[Service, list[EndpointSlice], list[Endpoint]]] = {
    "one pod": (service(HTTP), [endpoint_slice(POD)], REACHED),
    "no slice": (service(HTTP), [], []),
    "no endpoint": (service(HTTP), [endpoint_slice()], []),
    "ready": (service(HTTP), [endpoint_slice(conditions(ready=True))], REACHED),
    "not ready": (service(HTTP), [endpoint_slice(conditions(ready=False))], []),
    "readiness unknown": (service(HTTP), [endpoint_slice(conditions())], REACHED),
    "terminating": (service(HTTP), [endpoint_slice(conditions(ready=False, serving=True, terminating=True))], []),
    "two slices that overlap": (
        service(HTTP),
        [endpoint_slice(POD), endpoint_slice({"addresses": ["10.0.0.2", "10.0.0.1"]})],
        [*REACHED, Endpoint("10.0.0.2", 8080)],
    ),
    "another port of the Service": (
        service({"name": "other", "port": 81}, HTTP),
        [endpoint_slice(POD, ports=[{"name": "other", "port": 9}, {"name": "http", "port": 8080}])],
        REACHED,
    ),
    "one port without a name": (service({"port": 80}), [endpoint_slice(POD, ports=[{"port": 8080}])], REACHED),
    "one number by TCP and UDP": (
        service({"name": "udp", "port": 80, "protocol": "UDP"}, HTTP),
        [endpoint_slice(POD, ports=[{"name": "udp", "port": 9, "protocol": "UDP"}, {"name": "http", "port": 8080}])],
        REACHED,
    ),
    "only UDP": (
        service({"name": "http", "port": 80, "protocol": "UDP"}),
        [endpoint_slice(POD, ports=[{"name": "http", "port": 8080, "protocol": "UDP"}])],
        [],
    ),
    "no number": (service(HTTP), [endpoint_slice(POD, ports=[{"name": "http"}])], []),
    "IPv6": (
        service(HTTP),
        [endpoint_slice({"addresses": ["2001:db8::1"]}, family="IPv6")],
        [Endpoint("2001:db8::1", 8080)],
    ),
    "names": (service(HTTP), [endpoint_slice({"addresses": ["db.example.com"]}, family="FQDN")], []),
    "what another peer exports to us": (
        service(HTTP),
        [
            endpoint_slice(POD),
            endpoint_slice({"addresses": ["10.0.0.9"]}, managed_by="isthmus"),
        ],
        REACHED,
    ),
    "no such port": (service({"name": "http", "port": 81}), [endpoint_slice(POD)], []),
    "a Service without spec": (Service(), [endpoint_slice(POD)], []),
}


@pytest.mark.parametrize("name", CASES)
def test_endpoints_of_a_port(name: str) -> None:
    """Connections to a port go to ready endpoints, found by the port's name in each slice."""
    known, slices, expected = CASES[name]
    assert ready_endpoints(known, slices, 80) == expected


def test_a_service_as_far_as_sharing_goes() -> None:
    """Name, ports, labels and who may see it are what decides of exports."""
    annotations = {"networking.istio.io/exportTo": "."}
    ports = ({"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}, {"port": 53, "protocol": "UDP"})
    found = local_service(service(*ports, labels={"app": "ratings"}, annotations=annotations))
    assert found.name == QualifiedName("bookinfo", "ratings")
    assert found.ports == (LocalPort("http", 80, "TCP", "kubernetes.io/h2c"), LocalPort("", 53, "UDP"))
    assert (found.labels, found.export_to) == ({"app": "ratings"}, ".")
    assert not found.is_external
    assert not found.is_federation


@pytest.mark.parametrize(
    "label",
    [
        {"app.kubernetes.io/managed-by": "isthmus"},
        {"app.kubernetes.io/managed-by": "isthmus-operator"},
        {"federation.maistra.io/ingress-for": "ingress-green-mesh"},
        {"federation.maistra.io/egress-for": "egress-green-mesh"},
    ],
    ids=str,
)
def test_services_of_federation_itself_are_not_shared(label: dict[str, str]) -> None:
    """Imports and gateways are recognised, so that no rule can export them."""
    assert local_service(service(HTTP, labels=label)).is_federation


def test_the_api_server_is_not_shared() -> None:
    """A rule for all Services does not hand the Kubernetes API to the peer."""
    api_server = Service(metadata=ObjectMeta(name="kubernetes", namespace="default"))
    assert local_service(api_server).is_federation


def test_a_service_that_names_something_outside() -> None:
    """An ExternalName is not of this mesh."""
    assert local_service(service(spec={"type": "ExternalName", "externalName": "example.com"})).is_external
    assert local_service(Service()).ports == ()


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ([], None),
        (["a-1"], Locality("a", "a-1")),
        (["a-1", "a-1"], Locality("a", "a-1")),
        (["a-1", "a-2"], Locality("a")),
        (["a-1", "b-1"], None),
        (["a-1", None], None),
        (["nobody knows"], None),
    ],
)
def test_a_service_is_where_all_its_pods_are(zones: list[str | None], expected: Locality | None) -> None:
    """One zone, or one region; with pods in several regions, or one of which nothing is known, nothing is said."""
    pods = [{"addresses": [f"10.0.0.{number}"], "zone": zone} for number, zone in enumerate(zones)]
    of_an_import = endpoint_slice({**POD, "zone": "b-1"}, managed_by="isthmus")
    found = locality([endpoint_slice(*pods), of_an_import], {"a-1": "a", "a-2": "a", "b-1": "b"})
    assert found == expected
