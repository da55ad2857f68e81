"""``ServiceMeshPeer``: another mesh, as the administrator of this one describes it, and how the link to it fares.

Ports are 0 where the resource leaves them out, because a peer's ``remote`` is hashed as it is written; use the
``effective_`` properties to connect.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from lightkube.core.resource import NamespacedResourceG, NamespacedSubResource
from msgspec import Meta

from isthmus.api.check import Check
from isthmus.api.meta import DNS_LABEL, Conditions, Count, Envelope, ObservedGeneration, Part, api_info, status_info

DISCOVERY_PORT = 8188
SERVICE_PORT = 15443

Port = Annotated[int, Meta(ge=1, le=65535, extra_json_schema={"format": "int32"})]
TrustDomainName = Annotated[str, Meta(pattern="^[a-z0-9._-]{1,255}$", min_length=1, max_length=255)]
Address = Annotated[
    str,
    Meta(description="A DNS name or an IP address.", pattern="^[A-Za-z0-9._:-]+$", min_length=1, max_length=253),
]


class PeerRemote(Part, frozen=True, kw_only=True):
    """Where the peer's ingress gateway for this mesh is reached."""

    addresses: Annotated[
        tuple[Address, ...],
        Meta(
            description="DNS names or IP addresses of the peer's ingress gateway, without a port; all are used.",
            min_length=1,
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ]
    discovery_port: Annotated[
        Port, Meta(description="The port for discovery at these addresses; 8188 if it is left out.")
    ] = 0
    service_port: Annotated[Port, Meta(description="The port for requests to services; 15443 if it is left out.")] = 0

    @property
    def effective_discovery_port(self) -> int:
        """The discovery port with its default applied."""
        return self.discovery_port or DISCOVERY_PORT

    @property
    def effective_service_port(self) -> int:
        """The service port with its default applied."""
        return self.service_port or SERVICE_PORT


class GatewayName(Part, frozen=True, kw_only=True):
    """A gateway of this mesh, by the name that the ServiceMeshControlPlane gives it."""

    name: Annotated[str, Meta(description="Name of the gateway.", pattern=DNS_LABEL, min_length=1, max_length=63)]


class PeerGateways(Part, frozen=True, kw_only=True):
    """The gateways of this mesh that serve this peer."""

    ingress: Annotated[GatewayName, Meta(description="The ingress gateway through which the peer calls us.")]
    egress: Annotated[GatewayName, Meta(description="The egress gateway through which we call the peer.")]


class CertificateChain(Part, frozen=True, kw_only=True):
    """The object in the namespace of this resource that holds the peer's root certificates."""

    api_group: Annotated[str | None, Meta(description="API group of the object; empty for a ConfigMap.")] = None
    kind: Annotated[
        Literal["ConfigMap"],
        Meta(description="Kind of the object: a ConfigMap.", extra_json_schema={"default": "ConfigMap"}),
    ] = "ConfigMap"
    name: Annotated[
        str,
        Meta(
            description="Name of the ConfigMap, whose key root-cert.pem holds the certificates; "
            "<name of this resource>-ca-root-cert if it is left out.",
            max_length=253,
        ),
    ] = ""


class PeerSecurity(Part, frozen=True, kw_only=True):
    """Who the peer is and how that is proved."""

    trust_domain: Annotated[TrustDomainName, Meta(description="The peer's trust domain, for instance green-mesh.local")]
    client_id: Annotated[
        str,
        Meta(
            description="The one identity that may call us: <trust domain>/ns/<namespace>/sa/<service account> "
            "of the peer's egress gateway, without the scheme spiffe://",
            pattern="^[a-z0-9._-]{1,255}/ns/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/sa/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        ),
    ] = msgspec.field(name="clientID")
    certificate_chain: Annotated[
        CertificateChain | None, Meta(description="Where the root certificates that vouch for the peer are.")
    ] = None


class PeerSpec(Part, frozen=True, kw_only=True):
    """Another mesh: where it is, which gateways serve it, and who it is."""

    remote: PeerRemote
    gateways: PeerGateways
    security: PeerSecurity


class WatchStatus(Part, frozen=True, kw_only=True):
    """The discovery watch of one control-plane pod to the peer."""

    connected: Annotated[bool | None, Meta(description="Whether the watch stands.")] = None
    last_connected: Annotated[datetime | None, Meta(description="When it was last established.")] = None
    last_disconnect: Annotated[datetime | None, Meta(description="When it was last lost.")] = None
    last_disconnect_status: Annotated[
        str | None, Meta(description="Why it was lost: an HTTP status, or the cause in words.")
    ] = None
    last_event: Annotated[datetime | None, Meta(description="When the last change arrived.")] = None
    last_full_sync: Annotated[datetime | None, Meta(description="When the whole list was last exchanged.")] = None


class RemoteStatus(Part, frozen=True, kw_only=True):
    """One control-plane pod of the peer that watches us."""

    source: Annotated[str, Meta(description="The address that the peer's watch comes from.")]
    connected: Annotated[bool | None, Meta(description="Whether the peer's watch stands.")] = None
    last_connected: Annotated[datetime | None, Meta(description="When it was last established.")] = None
    last_disconnect: Annotated[datetime | None, Meta(description="When it was last lost.")] = None
    last_disconnect_status: Annotated[str | None, Meta(description="Why it was lost.")] = None
    last_event: Annotated[datetime | None, Meta(description="When the last change was sent.")] = None
    last_full_sync: Annotated[datetime | None, Meta(description="When the whole list was last sent.")] = None


class PodDiscoveryStatus(Part, frozen=True, kw_only=True):
    """What one control-plane pod of this mesh sees of the peer."""

    pod: Annotated[str, Meta(description="Name of the control-plane pod.")]
    remotes: Annotated[
        tuple[RemoteStatus, ...] | None,
        Meta(
            description="The peer's watches of this pod.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["source"]},
        ),
    ] = None
    watch: Annotated[WatchStatus | None, Meta(description="This pod's watch of the peer.")] = None


PodList = Annotated[
    tuple[PodDiscoveryStatus, ...] | None,
    Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pod"]}),
]


class DiscoveryStatus(Part, frozen=True, kw_only=True):
    """The discovery link, by control-plane pod of this mesh."""

    active: Annotated[PodList, Meta(description="The pods whose watch of the peer stands.")] = None
    inactive: Annotated[PodList, Meta(description="The pods whose watch of the peer does not stand.")] = None


class PeerStatus(Part, frozen=True, kw_only=True):
    """How the link to the peer fares."""

    discovery_status: DiscoveryStatus | None = None
    exports: Annotated[Count | None, Meta(description="How many Services are exported to the peer.")] = None
    imports: Annotated[Count | None, Meta(description="How many Services of the peer are imported.")] = None
    check: Check | None = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None


class PeerModel(Envelope, frozen=True, kw_only=True):
    """The fields of the kind, whichever way it is served."""

    spec: PeerSpec
    status: PeerStatus | None = None


_INFO = api_info("federation.maistra.io", "v1", "ServiceMeshPeer", plural="servicemeshpeers")


class ServiceMeshPeerStatusView(NamespacedSubResource, PeerModel, frozen=True, kw_only=True):
    """The ``status`` subresource of a ServiceMeshPeer."""

    _api_info = status_info(_INFO)


class ServiceMeshPeer(NamespacedResourceG, PeerModel, frozen=True, kw_only=True):
    """A peer of this mesh. Its name is the name that this mesh gives the peer, and ends up in DNS names."""

    _api_info = _INFO
    Status: ClassVar = ServiceMeshPeerStatusView

    @property
    def root_config_map(self) -> str:
        """Name of the ConfigMap with the peer's roots, default applied."""
        chain = self.spec.security.certificate_chain
        return (chain.name if chain else "") or f"{self.metadata.name}-ca-root-cert"
