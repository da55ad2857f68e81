"""The Kubernetes objects of an import, and what is read back from them after a restart. Pure translation."""

from collections.abc import Sequence

import structlog
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.messages import MalformedMessageError, ServiceMessage, encode, parse_service
from isthmus.federation.ports import ImportKey
from isthmus.federation.workload import Workload
from isthmus.pilot.cluster import SERVICE_NAME
from isthmus.pilot.services import ISTHMUS, MANAGED_BY

log = structlog.get_logger(__name__)

ImportName = tuple[str, str]
"""Which import: the peer, and the host name under which the peer exports it."""

PEER = "isthmus.io/peer"
EXPORTED_NAME = "isthmus.io/exported-name"
HOSTNAME = "isthmus.io/hostname"
MESSAGE = "isthmus.io/exported-service"
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_APP_PROTOCOLS = {"HTTP": "http", "HTTP2": "kubernetes.io/h2c", "GRPC": "kubernetes.io/h2c", "HTTPS": "https"}


def import_service(workload: Workload) -> Service:
    """The Service by which local clients call the import."""
    imported = workload.imported
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
                    name=port.name,
                    port=port.port,
                    targetPort=port.gateway_port,
                    protocol="TCP",
                    appProtocol=_APP_PROTOCOLS.get(port.protocol),
                )
                for port in workload.ports
            ]
        ),
    )


def import_slice(workload: Workload, gateway_addresses: Sequence[str], port_names: dict[int, str]) -> EndpointSlice:
    """Where its connections go: to the pods of the egress gateway.

    ``port_names`` gives names by port number where the Service is not ours and has its own.
    """
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    return EndpointSlice(
        metadata=ObjectMeta(
            name=slice_name(workload),
            namespace=workload.service.namespace,
            labels={SERVICE_NAME: workload.service.name, SLICE_MANAGED_BY: ISTHMUS, PEER: workload.imported.peer},
            annotations={EXPORTED_NAME: workload.imported.service.hostname},
        ),
        addressType="IPv6" if any(":" in address for address in gateway_addresses) else "IPv4",
        endpoints=[Endpoint(addresses=[address], conditions=ready) for address in gateway_addresses],
        ports=[
            EndpointPort(name=port_names.get(port.port, port.name), port=port.gateway_port, protocol="TCP")
            for port in workload.ports
        ],
    )


def slice_name(workload: Workload) -> str:
    """The name of the import's EndpointSlice; other slices of the same Service have others."""
    return f"{workload.service.name}-{workload.imported.peer}"[:253].rstrip("-.")


def import_names(made: Service | EndpointSlice) -> list[ImportName]:
    """The import that an object was made for; none for the objects of others."""
    metadata = made.metadata or ObjectMeta()
    labels, exported = metadata.labels or {}, (metadata.annotations or {}).get(EXPORTED_NAME)
    ours = ISTHMUS in (labels.get(MANAGED_BY), labels.get(SLICE_MANAGED_BY))
    return [(labels[PEER], exported)] if ours and PEER in labels and exported else []


def hostname_of(service: Service) -> str:
    """The name under which clients know it."""
    metadata = service.metadata or ObjectMeta()
    return str((metadata.annotations or {}).get(HOSTNAME, ""))


def remembered(service: Service) -> ServiceMessage | None:
    """What the peer told of the service when it was imported; None if someone has tampered with it."""
    metadata = service.metadata or ObjectMeta()
    try:
        return parse_service((metadata.annotations or {}).get(MESSAGE, "").encode())
    except MalformedMessageError as error:
        log.warning("import cannot be remembered", service=metadata.name, reason=str(error))
        return None


def remembered_ports(service: Service) -> dict[ImportKey, int]:
    """The gateway ports that an import holds."""
    if service.spec is None:
        return {}
    return {
        ImportKey(peer, hostname, port.port): port.targetPort
        for peer, hostname in import_names(service)
        for port in service.spec.ports or ()
        if isinstance(port.targetPort, int)
    }
