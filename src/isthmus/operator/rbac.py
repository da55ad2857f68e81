"""What a control plane may do: as little as its work needs; outside of its namespace it writes imports only."""

from lightkube.models.rbac_v1 import PolicyRule, RoleRef, Subject
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from isthmus.kube import KubeObject
from isthmus.operator.mesh import Mesh

COMPONENT = "istiod"
GROUP = "rbac.authorization.k8s.io"
READ = ["get", "list", "watch"]
WRITE = ["create", "update", "patch"]


def _rule(group: str, resources: list[str], verbs: list[str]) -> PolicyRule:
    return PolicyRule(apiGroups=[group], resources=resources, verbs=verbs)


CLUSTER_RULES = [
    _rule("", ["services", "pods", "namespaces", "nodes"], READ),
    _rule("discovery.k8s.io", ["endpointslices"], READ),
    _rule("authentication.k8s.io", ["tokenreviews"], ["create"]),
    # importAsLocal: a rule may name any namespace, and there a Service is to be made, or joined by one more slice.
    _rule("", ["services"], [*WRITE, "delete"]),
    _rule("discovery.k8s.io", ["endpointslices"], [*WRITE, "delete"]),
    # OpenShift asks for this of whoever writes endpoints that are addresses of pods.
    _rule("discovery.k8s.io", ["endpointslices/restricted"], ["create"]),
]
"""In the whole cluster: see what might be exported and where it is, check the tokens of gateways, write imports where
rules say."""

_KINDS = ["servicemeshpeers", "exportedservicesets", "importedservicesets"]

NAMESPACE_RULES = [
    _rule("federation.maistra.io", _KINDS, READ),
    _rule("federation.maistra.io", [f"{kind}/status" for kind in _KINDS], ["get", "update", "patch"]),
    # A mesh that was invited and has proved it becomes a peer.
    _rule("federation.maistra.io", ["servicemeshpeers"], ["create"]),
    _rule("maistra.io", ["servicemeshmemberrolls"], READ),
    _rule("", ["configmaps", "secrets"], [*READ, *WRITE]),
    # Invitations that have expired.
    _rule("", ["secrets"], ["delete"]),
    _rule("coordination.k8s.io", ["leases"], [*READ, *WRITE]),
    _rule("", ["events"], ["create", "patch"]),
    _rule("events.k8s.io", ["events"], ["create", "patch"]),
]
"""In the control plane's namespace: the federation's resources, the mesh's CA, leader election, events."""


def pilot(mesh: Mesh) -> list[KubeObject]:
    """Return the roles of the control plane and their bindings."""
    subject = Subject(kind="ServiceAccount", name=mesh.pilot, namespace=mesh.namespace)
    return [
        Role(metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT), rules=NAMESPACE_RULES),
        RoleBinding(
            metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT),
            roleRef=RoleRef(apiGroup=GROUP, kind="Role", name=mesh.pilot),
            subjects=[subject],
        ),
        ClusterRole(metadata=mesh.metadata(mesh.cluster_role, component=COMPONENT), rules=CLUSTER_RULES),
        ClusterRoleBinding(
            metadata=mesh.metadata(mesh.cluster_role, component=COMPONENT),
            roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name=mesh.cluster_role),
            subjects=[subject],
        ),
    ]
