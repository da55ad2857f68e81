"""What the gateways of one mesh have to do: the seam between the rules of federation and the proxy.

A plan is a value: it names peers, who they are, where they are, and what may pass. ``envoy`` turns it into resources;
nothing below this module knows of proxies, and nothing above it decides who may do what. Source: docs/protocol.md §1
and §3.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.api.logs import AccessLogFile
from isthmus.identity import SpiffeId, TrustBundle

DISCOVERY_PORT = 8188
SERVICE_PORT = 15443


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where to connect: an IP address or a DNS name, and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Our own pilot, as its gateways see it."""

    host: str
    """DNS name of the Service ``istiod-<mesh>``."""
    identity: SpiffeId
    discovery_port: int = DISCOVERY_PORT
    aliases: tuple[SpiffeId, ...] = ()
    """Identities that prove it as well: those of the mesh's other trust domains."""

    @property
    def identities(self) -> tuple[SpiffeId, ...]:
        """All identities that prove it."""
        return (self.identity, *self.aliases)


@dataclass(frozen=True, slots=True)
class AdmittedPeer:
    """A peer whose calls an ingress gateway accepts."""

    name: str
    """The name of its ServiceMeshPeer here: the last label of the names exported to it, and its path in discovery."""
    client: SpiffeId
    """The one identity that may speak for the peer (``spec.security.clientID``)."""
    bundle: TrustBundle
    """The roots that can vouch for that identity, for its trust domain only."""
    trusted_as: str = ""
    """Another one after a root was taken away: connections that were let in before must not go on."""
    roots_taken_away: int = 0
    """How often that was while the peer was known."""


@dataclass(frozen=True, slots=True)
class IngressPlan:
    """What one ingress gateway lets in."""

    control_plane: ControlPlane
    peers: tuple[AdmittedPeer, ...] = ()
    enrolment: str = ""
    """The server name under which anyone may ask to be enrolled; empty while nobody is invited."""
    access_log: AccessLogFile = field(default_factory=AccessLogFile)


@dataclass(frozen=True, slots=True)
class RemotePeer:
    """A peer that an egress gateway connects to."""

    name: str
    discovery_name: str
    """Authority and SNI of discovery calls: ``discovery.<namespace>.svc.<peer>.local``."""
    remote_checksum: int
    """Checksum of ``spec.remote`` as the header ``remote`` carries it."""
    discovery: tuple[Endpoint, ...]
    services: tuple[Endpoint, ...]
    bundle: TrustBundle

    @property
    def version(self) -> str:
        """A digest of all that a discovery call depends on: where the peer is, and who vouches for it.

        The control plane says it with each call, so that a gateway which does not have this configuration yet refuses
        the call rather than carry it to the former peer.
        """
        parts = (
            self.discovery_name,
            self.remote_checksum,
            sorted((each.host, each.port) for each in self.discovery),
            str(self.bundle.trust_domain),
            sorted(self.bundle.fingerprints()),
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class ImportedPort:
    """One port of one imported service, at the gateway port that local clients reach it by."""

    gateway_port: int
    peer: str
    hostname: str
    """The exported host name, in the peer's words: it becomes the SNI."""
    service_port: int
    servers: tuple[SpiffeId, ...]
    """Who may answer: the peer's ingress gateways, as the service's message names them."""
    trusted_as: str = ""
    """As in ``AdmittedPeer``, of the peer that answers."""

    @property
    def right(self) -> str:
        """What a connection through the port rests on, as a digest: with another one it must not go on."""
        parts = (self.peer, self.hostname, self.service_port, self.trusted_as)
        return hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True)
class EgressPlan:
    """What one egress gateway carries out of the mesh."""

    control_plane: ControlPlane
    peers: tuple[RemotePeer, ...] = ()
    imports: Mapping[int, ImportedPort] = field(default_factory=dict)
    """Imported ports by gateway port."""
    access_log: AccessLogFile = field(default_factory=AccessLogFile)


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where an exported port leads inside the mesh: one port of one local Service."""

    namespace: str
    service: str
    port: int

    @property
    def key(self) -> str:
        """A stable name for this target, used for its endpoints."""
        return f"{self.namespace}/{self.service}/{self.port}"

    @classmethod
    def parse(cls, key: str) -> "ExportTarget":
        """Read a ``key``; ValueError if it is none."""
        namespace, service, port = key.split("/")
        return cls(namespace, service, int(port))
