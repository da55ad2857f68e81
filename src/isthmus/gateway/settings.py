"""What one gateway pod is told when it starts, and the names that follow from it."""

import ipaddress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from isthmus.identity import SpiffeId, TrustDomain


class Role(StrEnum):
    """Which way a gateway faces."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class DnsServer:
    """Where names are resolved: an IP address, since no name can be resolved before, and a port."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<ip>:<port>``, an IPv6 address in brackets; raises ValueError: it is something else."""
        host, _, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError as error:
            raise ValueError(f"Invalid DNS server {text!r}: expected <IP address>:<port>") from error
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"Invalid DNS server {text!r}: expected a port from 1 to 65535 after the colon")
        return cls(str(address), int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """One gateway pod. Ports are those of this pod's own address but ``ca_port`` and ``xds_port``, the pilot's."""

    name: str
    role: Role
    mesh: str
    namespace: str
    control_plane_namespace: str
    trust_domain: TrustDomain
    trust_domain_aliases: tuple[TrustDomain, ...] = ()
    """Other trust domains of the mesh: a pilot of one of them is ours too."""
    pilot: str
    """DNS name or address of the pilot; whether it is the right one is told by its certificate, not by this."""
    pod_name: str
    pod_ip: str
    token_path: Path
    """Service account token for the audience ``istio-ca``, replaced by the kubelet in place."""
    root_path: Path
    """The mesh's roots as PEM, followed while the gateway runs."""
    dns_server: DnsServer | None = None
    """Names are resolved here instead of by the machine's own configuration."""
    ca_port: int = 15012
    xds_port: int = 15011
    agent_port: int = 15020
    ready_port: int = 15021
    stats_port: int = 15090
    concurrency: int = 2
    """Envoy's worker threads; each costs memory, and two carry what a link between meshes does."""
    drain_time_s: int = 5
    """How long connections have to end by themselves when the pod is stopped."""
    max_connections: int = 10_000
    """Connections from downstream over all listeners; at about 100 kB each under TLS, a bound on memory."""
    log_level: str = "info"
    settings_path: Path = Path("/etc/isthmus/logs.json")
    """What the mesh sets while the gateway runs (``isthmus.api.logs.LogSettings``); it may be missing."""

    @property
    def identity(self) -> SpiffeId:
        """Who this gateway is: its service account is called after it."""
        account = f"{self.name}-service-account"
        return SpiffeId.service_account(self.trust_domain, namespace=self.namespace, account=account)

    @property
    def pilot_identity(self) -> SpiffeId:
        """Who the pilot of this mesh is."""
        account = f"istiod-{self.mesh}"
        return SpiffeId.service_account(self.trust_domain, namespace=self.control_plane_namespace, account=account)

    @property
    def pilot_identities(self) -> tuple[SpiffeId, ...]:
        """All identities that prove the pilot of this mesh, one for each of its trust domains."""
        own = self.pilot_identity
        aliases = (replace(own, trust_domain=alias) for alias in self.trust_domain_aliases)
        return (own, *(each for each in aliases if each != own))

    @property
    def pilot_server_name(self) -> str:
        """The DNS name that the pilot's serving certificate must bear."""
        return f"istiod-{self.mesh}.{self.control_plane_namespace}.svc"
