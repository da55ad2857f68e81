"""The names of a cluster, kept up to date Service by Service."""

from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus
from lightkube.models.discovery_v1 import Endpoint, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import ObjectKey
from isthmus.lab.dns.records import Directory, records

APPS = "apps.red.test"
PORTS = [ServicePort(name="http", port=80)]
SPECS = [
    None,
    ServiceSpec(clusterIP="127.18.0.5", ports=PORTS),
    ServiceSpec(clusterIP="None", ports=PORTS),
    ServiceSpec(type="ExternalName", externalName="example.org"),
    ServiceSpec(clusterIP="127.18.0.6", ports=PORTS, type="LoadBalancer"),
]
BALANCED = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="127.19.0.10")]))
CHANGES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(SPECS), st.booleans()), max_size=12)


def service(name: str, spec: ServiceSpec | None) -> Service | None:
    if spec is None:
        return None
    status = BALANCED if spec.type == "LoadBalancer" else None
    return Service(metadata=ObjectMeta(name=name, namespace="shop"), spec=spec, status=status)


def slices(name: str, *, are_there: bool) -> list[EndpointSlice]:
    labels = {"kubernetes.io/service-name": name}
    metadata = ObjectMeta(name=f"{name}-1", namespace="shop", labels=labels)
    endpoints = [Endpoint(addresses=["127.17.0.2"], hostname="first")]
    ports = [EndpointPort(name="http", port=80)]
    piece = EndpointSlice(metadata=metadata, addressType="IPv4", endpoints=endpoints, ports=ports)
    return [piece] if are_there else []


@given(CHANGES)
def test_a_directory_is_what_its_last_services_say(changes: list[tuple[str, ServiceSpec | None, bool]]) -> None:
    """After any changes, the names are those of a cluster that has always been as it is now."""
    directory, last = Directory(apps_domain=APPS), dict[str, tuple[Service | None, list[EndpointSlice]]]()
    for name, spec, are_there in changes:
        last[name] = service(name, spec), slices(name, are_there=are_there)
        directory.put(ObjectKey("shop", name), *last[name])
    services = [each for each, _ in last.values() if each is not None]
    pieces = [piece for _, found in last.values() for piece in found]
    assert directory.records == records(services, pieces, apps_domain=APPS)
