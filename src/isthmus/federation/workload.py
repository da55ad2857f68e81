"""How workloads reach what is imported: plain Kubernetes objects, as values.

An import is a Service without selector and an EndpointSlice that leads to the egress gateway's pods, one gateway port
for each port of the service. Everything that a restart needs is in the Service itself: the peer's message and the
gateway ports. Source: docs/architecture.md, "How workloads reach what is imported".
"""

import hashlib
from dataclasses import dataclass

from isthmus.federation.import_table import Import
from isthmus.federation.names import is_server_name, outbound_sni
from isthmus.federation.plan import ImportedPort
from isthmus.federation.ports import ImportKey, PortBook
from isthmus.federation.selection import QualifiedName
from isthmus.federation.servers import servers_of
from isthmus.identity import TrustDomain

MAX_NAME_LENGTH = 63


@dataclass(frozen=True, slots=True)
class WorkloadPort:
    """One port as local clients call it, and the gateway port behind it."""

    name: str
    port: int
    gateway_port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Workload:
    """The objects that one import calls for."""

    service: QualifiedName
    imported: Import
    ports: tuple[WorkloadPort, ...]

    def gateway_ports(self, trust_domain: TrustDomain, *, trusted_as: str = "") -> tuple[ImportedPort, ...]:
        """What the egress gateway has to do for it; nothing where no identity of the peer may answer (fail closed).

        Nor where the name to ask for can be no server name: a peer that tells such names would make a gateway one whose
        configuration is refused.

        ``trusted_as`` is that of the peer's configuration.
        """
        message = self.imported.service
        servers = servers_of(message.service_accounts, trust_domain)
        return tuple(
            ImportedPort(port.gateway_port, self.imported.peer, message.hostname, port.port, servers, trusted_as)
            for port in self.ports
            if servers and is_server_name(outbound_sni(message.hostname, port.port))
        )


def workload(imported: Import, *, namespace: str, book: PortBook) -> Workload:
    """The objects for one import; ``namespace`` is the control plane's, where imports live unless they are local.

    Raises:
        PortsExhaustedError: the egress gateway has no port left.
    """
    called = imported.called
    name = called.name if called.is_local else QualifiedName(namespace, service_name(imported))
    message = imported.service
    by_number = {port.port: port for port in message.service_ports if port.port > 0}
    ports = tuple(
        WorkloadPort(
            name=port.name or f"port-{number}",
            port=number,
            gateway_port=book.take(ImportKey(imported.peer, message.hostname, number)),
            protocol=port.protocol,
        )
        for number, port in sorted(by_number.items())
    )
    return Workload(name, imported, ports)


def service_name(imported: Import) -> str:
    """The name of an import's Service: readable, unique among all imports, and the same on every replica."""
    called = imported.called.name
    digest = hashlib.sha256(f"{imported.peer}/{imported.service.hostname}".encode()).hexdigest()[:8]
    readable = f"{called.name}-{called.namespace}"[: MAX_NAME_LENGTH - len(digest) - 1].rstrip("-")
    # A Service's name begins with a letter (RFC 1035), a DNS label need not.
    return f"{readable}-{digest}" if readable[:1].isalpha() else f"s{readable[1:]}-{digest}"
