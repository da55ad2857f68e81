"""What of OpenShift's own API ``oc`` needs to log in and to change projects. Pure.

A Project is a Namespace in other words; who may get it sees it. The rest is asked or requested and not kept.
Source: OpenShift API reference, project.openshift.io/v1, user.openshift.io/v1, authorization.openshift.io/v1.
"""

from __future__ import annotations

from isthmus.lab.apiserver.kinds.columns import NAME, PLAIN, at, path
from isthmus.lab.apiserver.kinds.resource import Column, Resource, View
from isthmus.lab.apiserver.objects import Object

PROJECT_GROUP, USER_GROUP, REVIEW_GROUP = "project.openshift.io", "user.openshift.io", "authorization.openshift.io"
DESCRIPTION, DISPLAY_NAME, REQUESTER = (f"openshift.io/{name}" for name in ("description", "display-name", "requester"))
"""Annotations of a project's Namespace."""


def to_project(obj: Object) -> Object:
    """A stored Namespace as a Project."""
    return {**obj, "apiVersion": f"{PROJECT_GROUP}/v1", "kind": "Project"}


def to_namespace(obj: Object) -> Object:
    """A Project as it is stored."""
    return {**obj, "apiVersion": "v1", "kind": "Namespace"}


PROJECT = Resource(
    group=PROJECT_GROUP,
    version="v1",
    kind="Project",
    plural="projects",
    singular="project",
    namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    columns=(
        NAME,
        Column("Display Name", lambda obj, _: (at(obj, "metadata.annotations") or {}).get(DISPLAY_NAME, "")),
        Column("Status", path("status.phase", "Active")),
    ),
    selectable=("status.phase",),
    name_rule="label",
    view=View(of="namespaces", show=to_project, store=to_namespace),
)


def _asked(group: str, kind: str, plural: str, verbs: tuple[str, ...]) -> Resource:
    """A kind of which no objects are kept."""
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=False,
        verbs=verbs,
        columns=PLAIN,
    )


PROJECT_REQUEST = _asked(PROJECT_GROUP, "ProjectRequest", "projectrequests", ("create", "list"))
USER = _asked(USER_GROUP, "User", "users", ("get",))
ACCESS_REVIEW = _asked(REVIEW_GROUP, "SubjectAccessReview", "subjectaccessreviews", ("create",))

RESOURCES = (PROJECT, PROJECT_REQUEST, USER, ACCESS_REVIEW)
