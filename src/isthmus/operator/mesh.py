"""One mesh as its ServiceMeshControlPlane describes it: its names, and what marks the objects that belong to it."""

from dataclasses import dataclass
from typing import Literal

from lightkube.models.meta_v1 import ObjectMeta, OwnerReference

from isthmus.api import ServiceMeshControlPlane
from isthmus.api.controlplane import Gateway
from isthmus.kube import KubeObject, ObjectKey, key_of, metadata_of

MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
OWNER_NAMESPACE = "maistra.io/owner"
OWNER_NAME = "maistra.io/owner-name"

OPERATOR = "isthmus-operator"
"""The value of ``managed-by`` on every object that the operator makes, and its field manager."""

OURS = f"{MANAGED_BY}={OPERATOR},{OWNER_NAMESPACE},{OWNER_NAME}"
"""Selects every object that the operator made, of whatever mesh."""

Role = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGateway:
    """One gateway of the mesh, for one peer."""

    name: str
    namespace: str
    role: Role
    spec: Gateway

    @property
    def service_account(self) -> str:
        """The service account that its pods run as; peers know it as part of the clientID."""
        return f"{self.name}-service-account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A mesh, with the image that its processes run from."""

    control_plane: ServiceMeshControlPlane
    image: str

    @property
    def name(self) -> str:
        """Name of the mesh."""
        return key_of(self.control_plane).name

    @property
    def namespace(self) -> str:
        """Namespace of the control plane."""
        return key_of(self.control_plane).namespace

    @property
    def pilot(self) -> str:
        """Name of the control plane's Deployment, Service and ServiceAccount."""
        return f"istiod-{self.name}"

    @property
    def cluster_role(self) -> str:
        """Name of the control plane's ClusterRole, which is not in a namespace and so must name it."""
        return f"{self.pilot}-{self.namespace}"

    @property
    def trust_domain(self) -> str:
        """The trust domain of the mesh."""
        return self.control_plane.spec.security.trust.domain

    @property
    def trust_options(self) -> list[str]:
        """The trust domain and its aliases, as the processes of the mesh are told of them."""
        aliases = self.control_plane.spec.security.trust.additional_domains
        words = (word for alias in aliases for word in ("--trust-domain-alias", alias))
        return ["--trust-domain", self.trust_domain, *words]

    @property
    def gateways(self) -> list[PeerGateway]:
        """The gateways that are enabled: egresses, then ingresses, each by name."""
        spec = self.control_plane.spec.gateways
        by_role: tuple[tuple[Role, dict[str, Gateway]], ...] = (
            ("egress", spec.additional_egress),
            ("ingress", spec.additional_ingress),
        )
        return [
            PeerGateway(name=name, namespace=gateway.namespace or self.namespace, role=role, spec=gateway)
            for role, gateways in by_role
            for name, gateway in sorted(gateways.items())
            if gateway.enabled
        ]

    def metadata(self, name: str, namespace: str | None = None, *, component: str) -> ObjectMeta:
        """Return the metadata of an object of the mesh. namespace: None for a kind that is not in namespaces."""
        return ObjectMeta(
            name=name,
            namespace=namespace,
            labels={
                NAME: component,
                PART_OF: self.name,
                MANAGED_BY: OPERATOR,
                OWNER_NAMESPACE: self.namespace,
                OWNER_NAME: self.name,
            },
            ownerReferences=[self._owner()] if namespace == self.namespace else None,
        )

    def _owner(self) -> OwnerReference:
        """What lets the cluster collect the objects; it works within a namespace only, the rest is the operator's."""
        return OwnerReference(
            apiVersion=str(self.control_plane.apiVersion),
            kind=str(self.control_plane.kind),
            name=self.name,
            uid=metadata_of(self.control_plane).uid or "",
            controller=True,
        )


def owner_of(obj: KubeObject) -> ObjectKey:
    """Return the key of the ServiceMeshControlPlane that an object of ours belongs to."""
    labels = metadata_of(obj).labels or {}
    return ObjectKey(labels.get(OWNER_NAMESPACE, ""), labels.get(OWNER_NAME, ""))
