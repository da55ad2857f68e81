"""The Kubernetes objects of an import, and what is read back from them after a restart. Pure translation."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForZone
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.locality import Place
from isthmus.federation.messages import MalformedMessageError, ServiceMessage, encode, parse_service
from isthmus.federation.names import is_dns_label
from isthmus.federation.ports import ImportKey
from isthmus.federation.workload import Workload, WorkloadPort
from isthmus.pilot.cluster import SERVICE_NAME
from isthmus.pilot.services import ISTHMUS, MANAGED_BY, SLICE_MANAGED_BY

log = structlog.get_logger(__name__)

ImportName = tuple[str, str]
"""Which import: the peer, and the host name under which the peer exports it."""

PEER = "isthmus.io/peer"
CONTROL_PLANE = "isthmus.io/control-plane"
"""The namespace of the control plane whose import it is: several meshes may share a cluster."""
EXPORTED_NAME = "isthmus.io/exported-name"
HOSTNAME = "isthmus.io/hostname"
MESSAGE = "isthmus.io/exported-service"
GATEWAY_PORTS = "isthmus.io/gateway-ports"
"""On a slice: gateway ports by the service's ports, as JSON; a Service that is ours has them as ``targetPort``."""
_APP_PROTOCOLS = {"HTTP": "http", "HTTP2": "kubernetes.io/h2c", "GRPC": "kubernetes.io/h2c", "HTTPS": "https"}
_DEFAULT_PORT_NAME = re.compile(r"port-[0-9]+")
MAX_OBJECT_NAME = 253


def import_service(workload: Workload) -> Service:
    """The Service by which local clients call the import."""
    imported = workload.imported
    names = port_names(workload)
    return Service(
        metadata=ObjectMeta(
            name=workload.service.name,
            namespace=workload.service.namespace,
            labels={MANAGED_BY: ISTHMUS, PEER: imported.peer},
            annotations={
                EXPORTED_NAME: imported.service.hostname,
                HOSTNAME: imported.called.hostname,
                MESSAGE: encode(imported.service).decode(),
            },
        ),
        spec=ServiceSpec(
            ports=[
                ServicePort(
                    name=names[port.port],
                    port=port.port,
                    targetPort=port.gateway_port,
                    protocol="TCP",
                    appProtocol=_APP_PROTOCOLS.get(port.protocol),
                )
                for port in workload.ports
            ]
        ),
    )


def import_slice(
    workload: Workload,
    gateway_addresses: Sequence[str],
    names: Mapping[int, str],
    *,
    is_ready: bool = True,
    at: Place = Place(),  # noqa: B008  (frozen)
) -> EndpointSlice:
    """Where its connections go: to the pods of the egress gateway, if the import ``is_ready`` to be called.

    They count as being ``at`` the place where the import is, not where the gateway runs.

    ``names`` are those of the Service's ports, by number; a port that the Service does not have leads nowhere.
    """
    family, addresses = one_family(gateway_addresses)
    ports = [port for port in workload.ports if port.port in names]
    message = workload.imported.service
    return EndpointSlice(
        metadata=ObjectMeta(
            name=slice_name(workload, family),
            namespace=workload.service.namespace,
            labels={SERVICE_NAME: workload.service.name, SLICE_MANAGED_BY: ISTHMUS, PEER: workload.imported.peer},
            annotations={
                EXPORTED_NAME: message.hostname,
                MESSAGE: encode(message).decode(),
                GATEWAY_PORTS: _gateway_ports(workload.ports),
            },
        ),
        addressType=family,
        endpoints=[
            Endpoint(
                addresses=[address],
                conditions=_conditions(is_ready=is_ready),
                zone=at.zone or None,
                hints=EndpointHints(forZones=[ForZone(name=at.hint)]) if at.hint else None,
            )
            for address in addresses
        ],
        ports=[EndpointPort(name=names[port.port], port=port.gateway_port, protocol="TCP") for port in ports],
    )


def _conditions(*, is_ready: bool) -> EndpointConditions:
    return EndpointConditions(ready=is_ready, serving=is_ready, terminating=False)


def port_names(workload: Workload) -> dict[int, str]:
    """Names of ports by number: the peer's as far as Kubernetes takes them, and no name twice."""
    names: dict[int, str] = {}
    for port in workload.ports:
        is_usable = is_dns_label(port.name) and not _DEFAULT_PORT_NAME.fullmatch(port.name)
        is_new = port.name not in names.values()
        names[port.port] = port.name if is_usable and is_new else f"port-{port.port}"
    return names


def one_family(addresses: Sequence[str]) -> tuple[str, list[str]]:
    """What an EndpointSlice may hold of these addresses, all of one family: those of IPv4 if there are any."""
    of_ipv4 = [address for address in addresses if ":" not in address]
    return ("IPv4", of_ipv4) if of_ipv4 or not addresses else ("IPv6", list(addresses))


def slice_name(workload: Workload, family: str) -> str:
    """The name of the import's EndpointSlice: another than all other slices of the Service have, one a family.

    Several imports may join one Service, and the address type of a slice cannot be changed.
    """
    imported = workload.imported
    digest = hashlib.sha256(f"{imported.peer}/{imported.service.hostname}/{family}".encode()).hexdigest()[:8]
    return f"{workload.service.name}-{imported.peer}"[: MAX_OBJECT_NAME - 9].rstrip("-.") + f"-{digest}"


def import_names(made: Service | EndpointSlice) -> list[ImportName]:
    """The import that an object was made for; none for the objects of others."""
    metadata = made.metadata or ObjectMeta()
    labels, exported = metadata.labels or {}, (metadata.annotations or {}).get(EXPORTED_NAME)
    ours = ISTHMUS in (labels.get(MANAGED_BY), labels.get(SLICE_MANAGED_BY))
    return [(labels[PEER], exported)] if ours and PEER in labels and exported else []


def made_by(control_plane: str, made: Service | EndpointSlice) -> Service | EndpointSlice:
    """The object, marked as that of the control plane in this namespace."""
    if made.metadata is not None:
        made.metadata.labels = {**(made.metadata.labels or {}), CONTROL_PLANE: control_plane}
    return made


def is_made_by(control_plane: str, made: Service | EndpointSlice) -> bool:
    """Whether the control plane in this namespace made it; another's imports are its own affair."""
    metadata = made.metadata or ObjectMeta()
    return (metadata.labels or {}).get(CONTROL_PLANE) == control_plane


def is_joined_by(service: Service, name: ImportName) -> bool:
    """Whether the Service belongs to someone else than this import: to the mesh's users, or to another import."""
    labels = (service.metadata.labels if service.metadata else None) or {}
    owners = import_names(service)
    return owners != [name] if owners else labels.get(MANAGED_BY) != ISTHMUS or PEER not in labels


def names_of_ports(service: Service) -> dict[int, str]:
    """The names of a Service's TCP ports, by number."""
    ports = (service.spec.ports if service.spec else None) or ()
    return {port.port: port.name or "" for port in ports if (port.protocol or "TCP") == "TCP"}


def hostname_of(service: Service) -> str:
    """The name under which clients know it."""
    metadata = service.metadata or ObjectMeta()
    return str((metadata.annotations or {}).get(HOSTNAME, ""))


def remembered(made: Service | EndpointSlice) -> ServiceMessage | None:
    """What the peer told of the service when it was imported; None if someone has tampered with it."""
    metadata = made.metadata or ObjectMeta()
    try:
        return parse_service((metadata.annotations or {}).get(MESSAGE, "").encode())
    except MalformedMessageError as error:
        peers = ", ".join(peer for peer, _ in import_names(made))
        log.warning("import cannot be remembered", peer=peers, name=metadata.name, reason=str(error))
        return None


def remembered_ports(made: Service | EndpointSlice) -> dict[ImportKey, int]:
    """The gateway ports that an import holds."""
    ports = _target_ports(made) if isinstance(made, Service) else _annotated_ports(made)
    return {
        ImportKey(peer, hostname, port): gateway_port
        for peer, hostname in import_names(made)
        for port, gateway_port in ports.items()
    }


def _gateway_ports(ports: Sequence[WorkloadPort]) -> str:
    return msgspec.json.encode({str(port.port): port.gateway_port for port in ports}).decode()


def _target_ports(service: Service) -> dict[int, int]:
    ports = (service.spec.ports if service.spec else None) or ()
    return {port.port: port.targetPort for port in ports if isinstance(port.targetPort, int)}


def _annotated_ports(made: EndpointSlice) -> dict[int, int]:
    annotations = (made.metadata.annotations if made.metadata else None) or {}
    try:
        return msgspec.json.decode(annotations.get(GATEWAY_PORTS, "{}"), type=dict[int, int])
    except msgspec.DecodeError:
        return {}  # someone has tampered with it: the import gets other ports
