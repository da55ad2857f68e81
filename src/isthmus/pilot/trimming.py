"""Ingest: Services and EndpointSlices without what nobody here reads.

A control plane holds all of the cluster, tens of thousands of each kind; what the API server adds to them, and what
kubectl remembers in an annotation, is half of what they take. Words that many of them share are kept once.
"""

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar, cast

import msgspec
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.messages import FEW
from isthmus.pilot.services import EXPORT_TO

_T = TypeVar("_T")

OURS = "isthmus.io/"
"""Before the names of our own annotations."""


def trimmed_service(service: Service) -> Service:
    """The Service with its name, labels, ports, kind and address."""
    spec = service.spec or ServiceSpec()
    return Service(
        metadata=_metadata(service.metadata or ObjectMeta()),
        spec=ServiceSpec(
            type=_word(spec.type),
            clusterIP=spec.clusterIP,
            ports=_service_ports(spec.ports) if spec.ports is not None else None,
        ),
    )


def trimmed_slice(endpoint_slice: EndpointSlice) -> EndpointSlice:
    """The EndpointSlice with its name, labels, ports, and where its endpoints are and how they fare."""
    return EndpointSlice(
        metadata=_metadata(endpoint_slice.metadata or ObjectMeta()),
        addressType=sys.intern(endpoint_slice.addressType),
        endpoints=_endpoints(endpoint_slice.endpoints or ()),
        ports=_endpoint_ports(endpoint_slice.ports) if endpoint_slice.ports is not None else None,
    )


def _metadata(metadata: ObjectMeta) -> ObjectMeta:
    read = {name: value for name, value in (metadata.annotations or {}).items() if _is_read(name)}
    return ObjectMeta(
        name=metadata.name,
        namespace=_word(metadata.namespace),
        resourceVersion=metadata.resourceVersion,
        labels=_words(metadata.labels),
        annotations=_words(read) or None,
    )


def _is_read(annotation: str) -> bool:
    return annotation.startswith(OURS) or annotation == EXPORT_TO


def _service_ports(ports: Iterable[ServicePort]) -> list[ServicePort]:
    kept = [
        ServicePort(
            port=each.port,
            name=each.name,
            protocol=each.protocol,
            appProtocol=each.appProtocol,
            targetPort=each.targetPort,
        )
        for each in ports
    ]
    return _once(list[ServicePort], kept)


def _endpoint_ports(ports: Sequence[EndpointPort]) -> list[EndpointPort]:
    return _once(list[EndpointPort], list(ports))


def _endpoints(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    kept = [
        Endpoint(addresses=each.addresses, conditions=each.conditions, zone=each.zone, hints=each.hints)
        for each in endpoints
    ]
    return _once(list[Endpoint], kept)


def _once(kind: type[list[_T]], values: list[_T]) -> list[_T]:
    """The values, one object for all that have the same: the endpoints of all imports are those of one gateway.

    Long lists are nobody else's, and would only fill what keeps them.
    """
    if len(values) > FEW:
        return values
    return cast("list[_T]", _decoded(kind, msgspec.json.encode(values)))


@lru_cache(maxsize=1024)
def _decoded(kind: Hashable, encoded: bytes) -> object:
    return msgspec.json.decode(encoded, type=kind)


def _words(of: Mapping[str, str] | None) -> dict[str, str] | None:
    return {sys.intern(name): sys.intern(value) for name, value in of.items()} if of is not None else None


def _word(text: str | None) -> str | None:
    return sys.intern(text) if text is not None else None
