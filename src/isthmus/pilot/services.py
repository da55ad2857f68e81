"""Kubernetes' Services and EndpointSlices as federation's values. Pure translation."""

from collections.abc import Iterable, Mapping

from lightkube.models.core_v1 import ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.exports import LocalPort, LocalService
from isthmus.federation.messages import Health, Locality
from isthmus.federation.plan import Endpoint
from isthmus.federation.selection import QualifiedName

EXPORT_TO = "networking.istio.io/exportTo"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
ISTHMUS = "isthmus"
OF_THE_MESH = frozenset((ISTHMUS, "isthmus-operator"))
"""Who manages imports, and who manages control plane and gateways: a rule for all Services means none of these."""
API_SERVER = QualifiedName("default", "kubernetes")
FOR_A_PEER = ("federation.maistra.io/ingress-for", "federation.maistra.io/egress-for")


def local_service(service: Service) -> LocalService:
    """The Service as far as sharing it goes."""
    metadata = service.metadata or ObjectMeta()
    spec = service.spec or ServiceSpec()
    labels = metadata.labels or {}
    name = QualifiedName(metadata.namespace or "", metadata.name or "")
    return LocalService(
        name=name,
        ports=tuple(
            LocalPort(port.name or "", port.port, port.protocol or "TCP", port.appProtocol or "")
            for port in spec.ports or ()
        ),
        labels=labels,
        export_to=(metadata.annotations or {}).get(EXPORT_TO, ""),
        is_external=spec.type == "ExternalName",
        is_federation=name == API_SERVER
        or labels.get(MANAGED_BY) in OF_THE_MESH
        or any(label in labels for label in FOR_A_PEER),
    )


def ready_endpoints(service: Service, slices: Iterable[EndpointSlice], port: int) -> list[Endpoint]:
    """Where connections to one port of the Service go: ready endpoints, by the port's name in each slice.

    Source: Kubernetes API, EndpointSlice: a port without number leads nowhere, one without name is the only one; an
    endpoint that says nothing of its readiness is ready. What an import has added to the Service does not count: what
    one peer exports to us is not ours to pass on to another. Nor do slices of names, which no proxy takes as endpoints.
    """
    ports = (service.spec.ports if service.spec else None) or ()
    names = {each.name or "" for each in ports if each.port == port and (each.protocol or "TCP") == "TCP"}
    found = {
        Endpoint(address, numbered.port)
        for each in slices
        if each.addressType != "FQDN" and not _is_of_an_import(each)
        for numbered in each.ports or ()
        if numbered.port is not None and (numbered.name or "") in names and (numbered.protocol or "TCP") == "TCP"
        for endpoint in each.endpoints or ()
        if endpoint.conditions is None or endpoint.conditions.ready is not False
        for address in endpoint.addresses
    }
    return sorted(found)


def health(slices: Iterable[EndpointSlice]) -> Health | None:
    """How many endpoints stand behind a Service, and how many are ready; None while it has no slice of its own."""
    own = [each for each in slices if not _is_of_an_import(each)]
    ready = {
        endpoint.addresses[0]: endpoint.conditions is None or endpoint.conditions.ready is not False
        for each in own
        for endpoint in each.endpoints or ()
    }
    return Health(ready=sum(ready.values()), total=len(ready)) if own else None


def locality(slices: Iterable[EndpointSlice], regions: Mapping[str, str]) -> Locality | None:
    """Where all endpoints of a Service are, ready or not, as far as they are in one place; ``regions`` are by zone.

    None where they are in several regions, or nothing is known of one of them.
    """
    own = [each for each in slices if not _is_of_an_import(each)]
    zones = {endpoint.zone or "" for each in own for endpoint in each.endpoints or ()}
    found = {regions.get(zone, "") for zone in zones}
    if len(found) != 1 or not (region := found.pop()):
        return None
    return Locality(region=region, zone=zones.pop() if len(zones) == 1 else "")


def _is_of_an_import(endpoint_slice: EndpointSlice) -> bool:
    metadata = endpoint_slice.metadata or ObjectMeta()
    return (metadata.labels or {}).get(SLICE_MANAGED_BY) == ISTHMUS
