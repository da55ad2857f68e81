"""What was found of a mesh. Values only; ``reading`` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.api.controlplane import DEFAULT_TRUST_DOMAIN
from isthmus.doctor.objects import at

Object = Mapping[str, Any]
"""A Kubernetes object as JSON; its values are whatever JSON has."""

ROOT_KEY = "root-cert.pem"
ROOT_CONFIG_MAP = "istio-ca-root-cert"
"""Where a control plane publishes its root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """A mesh with everything of it that a link depends on."""

    context: str
    server: str
    """The API server: two meshes with the same one are in one cluster."""
    control_plane: Object
    root: str = ""
    """What the control plane has published, PEM; empty if it has not yet."""
    peers: Mapping[str, Object] = field(default_factory=dict)
    """Every ServiceMeshPeer of it, by name."""
    config_maps: Mapping[str, Object] = field(default_factory=dict)
    """The ConfigMaps that peers' roots are, or would be, in; by name."""
    services: Mapping[str, Object] = field(default_factory=dict)
    """The Services of the ingress gateways in question, by name."""
    nodes: tuple[Object, ...] = ()
    """The nodes of the cluster, if one of these Services is a NodePort."""

    @property
    def name(self) -> str:
        return str(self.control_plane["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.control_plane["metadata"]["namespace"])

    @property
    def trust_domain(self) -> str:
        return str(at(self.control_plane, "spec", "security", "trust").get("domain") or DEFAULT_TRUST_DOMAIN)

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """All trust domains that are its own: that of its identities, and aliases."""
        aliases = at(self.control_plane, "spec", "security", "trust").get("additionalDomains") or ()
        return (self.trust_domain, *map(str, aliases))

    def gateways(self, role: str) -> Mapping[str, Any]:
        """The entries of the ServiceMeshControlPlane for that role, by name."""
        return at(self.control_plane, "spec", "gateways", SECTIONS[role])

    def other_roles_with(self, gateway: str, role: str) -> list[str]:
        """The sections for other roles that have a gateway of that name."""
        return [SECTIONS[other] for other in SECTIONS if other != role and gateway in self.gateways(other)]


SECTIONS = {"ingress": "additionalIngress", "egress": "additionalEgress"}
