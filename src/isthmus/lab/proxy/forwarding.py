"""Where each address of a Service leads, as a function of the Service, its EndpointSlices and the zone of the node.

Source: Kubernetes documentation, "Service", "Virtual IPs and Service Proxies", "EndpointSlices", "Topology Aware
Routing".
"""

from collections.abc import Iterable
from typing import NamedTuple

from lightkube.models.core_v1 import ServicePort
from lightkube.models.discovery_v1 import Endpoint
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import ObjectKey, key_of, metadata_of

SERVICE_LABEL = "kubernetes.io/service-name"


class Frontend(NamedTuple):
    """An address that clients use."""

    protocol: str
    address: str
    port: int


class Backend(NamedTuple):
    """An endpoint that is ready."""

    address: str
    port: int


Forwards = dict[Frontend, tuple[Backend, ...]]


def service_of(piece: EndpointSlice) -> str | None:
    """The name of the Service that a slice belongs to, whoever has written it."""
    return (metadata_of(piece).labels or {}).get(SERVICE_LABEL)


def owner_of(piece: EndpointSlice) -> ObjectKey | None:
    """The Service that a slice belongs to."""
    name = service_of(piece)
    return None if name is None else ObjectKey(key_of(piece).namespace, name)


def forwards(service: Service, slices: Iterable[EndpointSlice], *, node_address: str, zone: str = "") -> Forwards:
    """Every address of a Service that leads to at least one ready endpoint; ``zone`` is that of the node, if any.

    An address without any is left out, so that a client is refused at once and not kept waiting.
    """
    pieces = list(slices)
    found: Forwards = {}
    for port in (service.spec.ports if service.spec else None) or []:
        if backends := ready_backends(port, pieces, zone=zone):
            found |= dict.fromkeys(frontends(service, port, node_address=node_address), backends)
    return found


def frontends(service: Service, port: ServicePort, *, node_address: str) -> list[Frontend]:
    """The addresses of one port: cluster IP, load balancer, node port."""
    spec, protocol = service.spec, port.protocol or "TCP"
    if spec is None or spec.type == "ExternalName" or not spec.clusterIP or spec.clusterIP == "None":
        return []
    addresses = [spec.clusterIP, *(spec.externalIPs or [])]
    balancer = service.status.loadBalancer if service.status else None
    addresses += [ingress.ip for ingress in (balancer.ingress if balancer else None) or [] if ingress.ip]
    found = [Frontend(protocol, address, port.port) for address in addresses]
    if port.nodePort and spec.type in ("NodePort", "LoadBalancer"):
        found.append(Frontend(protocol, node_address, port.nodePort))
    return found


def ready_backends(port: ServicePort, slices: Iterable[EndpointSlice], *, zone: str = "") -> tuple[Backend, ...]:
    """The ready endpoints of one Service port in all slices: ports are matched by name, each endpoint counts once.

    Of these only the ones that are meant for ``zone``, if there are any and each endpoint says for which it is meant.
    """
    found = {
        (Backend(endpoint.addresses[0], target.port), _meant_for(endpoint))
        for piece in slices
        if piece.addressType == "IPv4"
        for target in piece.ports or []
        if (target.name or "") == (port.name or "") and (target.protocol or "TCP") == (port.protocol or "TCP")
        for endpoint in piece.endpoints or []
        if target.port is not None and endpoint.addresses and _ready(endpoint.conditions)
    }
    of_zone = {backend for backend, zones in found if zone in zones}
    are_all_meant = all(zones for _, zones in found)
    return tuple(sorted(of_zone if of_zone and are_all_meant else {backend for backend, _ in found}))


def _meant_for(endpoint: Endpoint) -> frozenset[str]:
    """The zones that an endpoint has hints for."""
    hints = endpoint.hints.forZones if endpoint.hints else None
    return frozenset(hint.name for hint in hints or [])


def _ready(conditions: object) -> bool:
    """An unknown condition counts as ready (EndpointConditions)."""
    return getattr(conditions, "ready", None) is not False
