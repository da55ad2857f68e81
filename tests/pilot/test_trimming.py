"""What is kept of Services and EndpointSlices."""

import msgspec
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.pilot.trimming import trimmed_service, trimmed_slice

METADATA = ObjectMeta(
    name="ratings",
    namespace="bookinfo",
    uid="7d1f",
    resourceVersion="12",
    labels={"app": "ratings"},
    annotations={
        "isthmus.io/exported-name": "ratings.bookinfo.svc.red-exports.local",
        "networking.istio.io/exportTo": ".",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    },
    ownerReferences=[OwnerReference(apiVersion="v1", kind="Service", name="ratings", uid="7d1f")],
)
KEPT = {
    "name": "ratings",
    "namespace": "bookinfo",
    "resourceVersion": "12",
    "labels": {"app": "ratings"},
    "annotations": {
        "isthmus.io/exported-name": "ratings.bookinfo.svc.red-exports.local",
        "networking.istio.io/exportTo": ".",
    },
}


def slice_of(address: str) -> EndpointSlice:
    """A slice with one endpoint."""
    return EndpointSlice(
        metadata=METADATA,
        addressType="IPv4",
        endpoints=[
            Endpoint(addresses=[address], conditions=EndpointConditions(ready=True), nodeName="node", zone="north")
        ],
        ports=[EndpointPort(name="http", port=9080, protocol="TCP")],
    )


def test_a_service_keeps_what_is_read() -> None:
    """Name, labels, our annotations, ports, kind and address stay; what the API server or kubectl adds goes."""
    ports = [ServicePort(name="http", port=80, targetPort=9080, protocol="TCP", appProtocol="http", nodePort=30080)]
    spec = ServiceSpec(type="NodePort", clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], selector={"a": "b"}, ports=ports)
    assert msgspec.to_builtins(trimmed_service(Service(metadata=METADATA, spec=spec))) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": KEPT,
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.0.0.1",
            "ports": [{"name": "http", "port": 80, "targetPort": 9080, "protocol": "TCP", "appProtocol": "http"}],
        },
    }


def test_a_slice_keeps_what_is_read() -> None:
    """Where endpoints are and how they fare stays."""
    assert msgspec.to_builtins(trimmed_slice(slice_of("10.0.0.2"))) == {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": True}, "zone": "north"}],
        "metadata": KEPT,
        "ports": [{"name": "http", "port": 9080, "protocol": "TCP"}],
    }


def test_what_is_the_same_is_kept_once() -> None:
    """Ten thousand imports lead to the same pods of a gateway."""
    first, second, other = (trimmed_slice(slice_of(address)) for address in ("10.0.0.2", "10.0.0.2", "10.0.0.3"))
    assert first.endpoints is second.endpoints
    assert first.endpoints != other.endpoints


def test_what_is_empty_stays_empty() -> None:
    """A Service without ports, and an object without spec or endpoints."""
    assert msgspec.to_builtins(trimmed_service(Service(metadata=ObjectMeta(name="a")))) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {},
    }
    empty = trimmed_slice(EndpointSlice(metadata=ObjectMeta(name="a"), addressType="IPv4", endpoints=[]))
    assert empty.endpoints == []
    assert empty.ports is None
