"""The built-in kinds that this server keeps, as a table. Pure.

What is not in the table is not served: this is the API that meshes, their users and the lab's own parts need.
"""

from __future__ import annotations

from typing import Any

from isthmus.lab.apiserver.kinds import columns, events, openshift
from isthmus.lab.apiserver.kinds.resource import Column, GroupVersionKind, Resource, Scale

_CREATE_ONLY = ("create",)
_REPLICAS = Scale(selector_path="status.selector")


def _kind(
    api_version: str, kind: str, plural: str, *, shown: tuple[Column, ...] = columns.PLAIN, sub: str = "", **more: Any
) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        columns=shown,
        subresources=frozenset(sub.split()),
        **more,
    )


_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)

RESOURCES: tuple[Resource, ...] = (
    _kind(
        "v1",
        "Namespace",
        "namespaces",
        shown=columns.NAMESPACE,
        sub="status finalize",
        namespaced=False,
        short_names=("ns",),
        selectable=("status.phase",),
        name_rule="label",
    ),
    _kind("v1", "ConfigMap", "configmaps", shown=columns.CONFIG_MAP, short_names=("cm",)),
    _kind("v1", "Secret", "secrets", shown=columns.SECRET, selectable=("type",)),
    _kind("v1", "ServiceAccount", "serviceaccounts", shown=columns.SERVICE_ACCOUNT, sub="token", short_names=("sa",)),
    _kind(
        "v1",
        "Service",
        "services",
        shown=columns.SERVICE,
        sub="status",
        short_names=("svc",),
        categories=("all",),
        selectable=("spec.clusterIP", "spec.type"),
        name_rule="dns1035",
    ),
    _kind("v1", "Endpoints", "endpoints", shown=columns.ENDPOINTS, short_names=("ep",)),
    _kind(
        "v1",
        "Pod",
        "pods",
        shown=columns.POD,
        sub="status log",
        short_names=("po",),
        categories=("all",),
        selectable=_POD_FIELDS,
        keeps_generation=True,
    ),
    _kind("v1", "Event", "events", shown=columns.EVENT, short_names=("ev",), selectable=_EVENT_FIELDS),
    _kind(
        "v1",
        "Node",
        "nodes",
        shown=columns.NODE,
        sub="status",
        namespaced=False,
        short_names=("no",),
        selectable=("spec.unschedulable",),
    ),
    _kind(
        "apps/v1",
        "Deployment",
        "deployments",
        shown=columns.DEPLOYMENT,
        sub="status scale",
        short_names=("deploy",),
        categories=("all",),
        scale=_REPLICAS,
        keeps_generation=True,
    ),
    _kind(
        "apps/v1",
        "ReplicaSet",
        "replicasets",
        shown=columns.REPLICA_SET,
        sub="status scale",
        short_names=("rs",),
        categories=("all",),
        selectable=("status.replicas",),
        scale=_REPLICAS,
        keeps_generation=True,
    ),
    _kind(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        shown=columns.CRD,
        sub="status",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        keeps_generation=True,
    ),
    _kind("coordination.k8s.io/v1", "Lease", "leases", shown=columns.LEASE),
    _kind(
        "discovery.k8s.io/v1", "EndpointSlice", "endpointslices", shown=columns.ENDPOINT_SLICE, keeps_generation=True
    ),
    _kind(
        "events.k8s.io/v1",
        "Event",
        "events",
        shown=columns.EVENT,
        short_names=("ev",),
        selectable=("regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "reason", "type"),
        view=events.VIEW,
    ),
    _kind(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "networkpolicies",
        shown=columns.NETWORK_POLICY,
        short_names=("netpol",),
        keeps_generation=True,
    ),
    _kind(
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        shown=columns.DISRUPTION_BUDGET,
        sub="status",
        short_names=("pdb",),
        keeps_generation=True,
    ),
    _kind("rbac.authorization.k8s.io/v1", "Role", "roles", shown=columns.ROLE, name_rule="path"),
    _kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", shown=columns.BINDING, name_rule="path"),
    _kind(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "clusterroles",
        shown=columns.ROLE,
        namespaced=False,
        name_rule="path",
    ),
    _kind(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        shown=columns.BINDING,
        namespaced=False,
        name_rule="path",
    ),
    *(
        _kind(api_version, kind, plural, namespaced=namespaced, verbs=_CREATE_ONLY, kept=False)
        for api_version, kind, plural, namespaced in (
            ("authentication.k8s.io/v1", "TokenReview", "tokenreviews", False),
            ("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", False),
            ("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", False),
            ("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", True),
            ("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
            ("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False),
        )
    ),
    *openshift.RESOURCES,
)

SUBRESOURCE_KINDS: dict[str, GroupVersionKind] = {
    "scale": GroupVersionKind("autoscaling", "v1", "Scale"),
    "token": GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"),
}
"""Subresources that speak another kind than their resource."""


def spoken_kind(resource: Resource, subresource: str = "") -> GroupVersionKind:
    """The kind that a resource, or a subresource of it, is written and read in."""
    return SUBRESOURCE_KINDS.get(subresource, resource.gvk)


SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "finalize": ("update",),
    "token": ("create",),
    "log": ("get",),
}
