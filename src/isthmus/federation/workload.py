"""How workloads reach what is imported: plain Kubernetes objects, as values.

An import is a Service without selector and an EndpointSlice that leads to the egress gateway's pods, one gateway port
for each port of the service. Everything that a restart needs is in the Service itself: the peer's message and the
gateway ports. Source: docs/architecture.md, "How workloads reach what is imported".
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from isthmus.federation.import_table import Import
from isthmus.federation.messages import FEW
from isthmus.federation.names import is_server_name, outbound_sni
from isthmus.federation.plan import ImportedPort
from isthmus.federation.ports import ImportKey, PortBook
from isthmus.federation.selection import QualifiedName
from isthmus.identity import IdentityError, SpiffeId, TrustDomain

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
        servers = servers_of(self.imported, trust_domain)
        message = self.imported.service
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


def servers_of(imported: Import, trust_domain: TrustDomain) -> tuple[SpiffeId, ...]:
    """Who may answer for the import: the identities that the peer names, as far as they are of its trust domain."""
    accounts = imported.service.service_accounts
    return (_kept_servers if len(accounts) <= FEW else _servers)(accounts, trust_domain)


def _servers(accounts: tuple[str, ...], trust_domain: TrustDomain) -> tuple[SpiffeId, ...]:
    found = set()
    for account in accounts:
        try:
            identity = SpiffeId.parse(account)
        except IdentityError:
            continue
        if identity.trust_domain == trust_domain:
            found.add(identity)
    return tuple(sorted(found))


_kept_servers = lru_cache(maxsize=256)(_servers)
"""One object for all imports of a peer, whose accounts are the same; of long lists none is kept."""
