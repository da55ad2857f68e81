"""What a fresh cluster begins with; made at start when it is missing.

Source: Kubernetes documentation, "Using RBAC Authorization: Default roles and role bindings", "Namespaces".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.lab.apiserver.changes import DeleteOptions, WriteOptions
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.identity.user import AUTHENTICATED, LOGGED_IN, MASTERS, UNAUTHENTICATED
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.openshift import PROJECT_GROUP, REVIEW_GROUP, USER_GROUP
from isthmus.lab.apiserver.objects import Key, Object, metadata
from isthmus.lab.apiserver.rest.services import Services

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
RBAC = "rbac.authorization.k8s.io"

READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server itself is to be reached."""

    host: str
    port: int


def _rule(groups: str, resources: str, verbs: Sequence[str]) -> dict[str, Any]:
    return {"apiGroups": groups.split(",") if groups else [""], "resources": resources.split(), "verbs": list(verbs)}


_CORE = "configmaps endpoints events pods pods/log pods/status serviceaccounts services services/status"
_APPS = "deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status"
_VIEW = [
    _rule("", f"{_CORE} namespaces", READ),
    _rule("apps", _APPS, READ),
    _rule("discovery.k8s.io", "endpointslices", READ),
    _rule("events.k8s.io", "events", READ),
    _rule("networking.k8s.io", "networkpolicies", READ),
    _rule("policy", "poddisruptionbudgets", READ),
    _rule(PROJECT_GROUP, "projects", ("get",)),
]
_EDIT = [
    *_VIEW,
    _rule("", "secrets", READ),
    _rule("", "configmaps endpoints events pods secrets serviceaccounts services", WRITE),
    _rule("", "pods/attach pods/exec pods/portforward", (*READ, *WRITE)),
    _rule("", "serviceaccounts/token", ("create",)),
    _rule("", "serviceaccounts", ("impersonate",)),
    _rule("apps", "deployments deployments/scale replicasets replicasets/scale", WRITE),
    _rule("networking.k8s.io", "networkpolicies", WRITE),
    _rule("policy", "poddisruptionbudgets", WRITE),
    _rule("coordination.k8s.io", "leases", (*READ, *WRITE)),
]
_ADMIN = [
    *_EDIT,
    _rule(RBAC, "roles rolebindings", (*READ, *WRITE)),
    _rule("authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    _rule(PROJECT_GROUP, "projects", ("delete", "patch", "update")),
]
_DISCOVERY_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz"]
_PUBLIC_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"]

CLUSTER_ROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ],
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:auth-delegator": [
        _rule("authentication.k8s.io", "tokenreviews", ("create",)),
        _rule("authorization.k8s.io", "subjectaccessreviews", ("create",)),
    ],
    "system:basic-user": [
        _rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ("create",)),
        _rule("authentication.k8s.io", "selfsubjectreviews", ("create",)),
        {**_rule(USER_GROUP, "users", ("get",)), "resourceNames": ["~"]},
        _rule(REVIEW_GROUP, "subjectaccessreviews", ("create",)),
        _rule(PROJECT_GROUP, "projects", ("list", "watch")),
    ],
    # oc asks for the right to ask for projects with the group and without.
    "self-provisioner": [{**_rule("", "projectrequests", ("create", "list")), "apiGroups": ["", PROJECT_GROUP]}],
    "system:discovery": [{"nonResourceURLs": [*_DISCOVERY_PATHS, "/version", "/version/"], "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _PUBLIC_PATHS, "verbs": ["get"]}],
}
CLUSTER_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "self-provisioner": (LOGGED_IN,),
    "system:discovery": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
}


def initial_objects() -> Iterator[Object]:
    """The objects of a fresh cluster that are the same everywhere."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    for name, rules in CLUSTER_ROLES.items():
        meta = {"name": name, "labels": labels}
        yield {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
    for name, groups in CLUSTER_BINDINGS.items():
        yield {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": labels},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "Group", "name": group, "apiGroup": RBAC} for group in groups],
        }


def kubernetes_service() -> Object:
    """The Service under which pods find the API server."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
    }


def kubernetes_endpoints(address: Address) -> Object:
    """Where that Service leads."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": address.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.host], "conditions": {"ready": True}}],
    }


async def bootstrap(services: Services, *, address: Address) -> None:
    """Make what is missing, and tell where the server is now."""
    for obj in initial_objects():
        await _ensure(services, obj)
    service = kubernetes_service()
    service["spec"]["ports"][0]["targetPort"] = address.port
    await _ensure(services, service, namespace="default")
    slices = services.registry.of_kind("discovery.k8s.io", "v1", "EndpointSlice")
    key = Key("endpointslices.discovery.k8s.io", "default", "kubernetes")
    if slices is not None and services.store.state.get(key) is not None:
        await services.changes.delete(slices, key, DeleteOptions())
    await _ensure(services, kubernetes_endpoints(address), namespace="default")


async def _ensure(services: Services, obj: Object, *, namespace: str = "") -> None:
    group, _, version = obj["apiVersion"].rpartition("/")
    resource = services.registry.of_kind(group, version, obj["kind"])
    if resource is None:
        raise LookupError(f"Making {obj['kind']} at start: no such kind is served")
    try:
        await services.changes.create(
            resource, obj, namespace=namespace, options=WriteOptions(manager="kube-apiserver")
        )
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        if obj["kind"] == "ClusterRole":
            await _complete_role(services, resource, obj)


async def _complete_role(services: Services, resource: Resource, wanted: Object) -> None:
    """Give a default role, which an older version made, the rules that it lacks; unless it is not to be updated."""

    def completed(role: Object) -> Object:
        rules = role.get("rules") or []
        if (metadata(role).get("annotations") or {}).get(AUTO_UPDATE) != "false":
            role["rules"] = [*rules, *(rule for rule in wanted["rules"] if rule not in rules)]
        return role

    key = Key(resource.storage, "", metadata(wanted)["name"])
    await services.changes.update(resource, key, completed, options=WriteOptions(manager="kube-apiserver"))
