"""What of OpenShift's own API ``oc`` needs to log in and to change projects. Pure.

A Project is a Namespace in other words; who may get it sees it. The rest is asked or requested and not kept.
Source: OpenShift API reference, project.openshift.io/v1, user.openshift.io/v1, authorization.openshift.io/v1.
"""

from __future__ import annotations

from isthmus.lab.apiserver.errors import FieldError, invalid_value
from isthmus.lab.apiserver.kinds.columns import NAME, PLAIN, at, path
from isthmus.lab.apiserver.kinds.resource import Column, Resource, View
from isthmus.lab.apiserver.objects import Object, metadata

PROJECT_GROUP, USER_GROUP, REVIEW_GROUP = "project.openshift.io", "user.openshift.io", "authorization.openshift.io"
DESCRIPTION, DISPLAY_NAME, REQUESTER = (f"openshift.io/{name}" for name in ("description", "display-name", "requester"))
"""Annotations of a project's Namespace."""


def to_project(obj: Object) -> Object:
    """A stored Namespace as a Project."""
    return {**obj, "apiVersion": f"{PROJECT_GROUP}/v1", "kind": "Project"}


def to_namespace(obj: Object) -> Object:
    """A Project as it is stored."""
    return {**obj, "apiVersion": "v1", "kind": "Namespace"}


def _texts(obj: Object, kind: str) -> dict[str, str]:
    """Labels or annotations; none where there is something else, which is refused later."""
    found = metadata(obj).get(kind)
    return found if isinstance(found, dict) else {}


def change_errors(new: Object, old: Object) -> list[FieldError]:
    """Only its name for people and its description are changed through a Project: labels decide on rights elsewhere."""
    why = "field is immutable, try updating the namespace"
    return [
        invalid_value(f"metadata.{kind}[{name}]", after.get(name, ""), why)
        for kind, free in (("labels", ()), ("annotations", (DISPLAY_NAME, DESCRIPTION)))
        for before, after in [(_texts(old, kind), _texts(new, kind))]
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and name not in free
    ] + [
        invalid_value(f"metadata.{name}", metadata(new).get(name), why)
        for name in ("finalizers", "ownerReferences")
        if metadata(old).get(name) != metadata(new).get(name)
    ]


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
    view=View(of="namespaces", show=to_project, store=to_namespace, check=change_errors),
)


def _asked(group: str, kind: str, plural: str, verbs: tuple[str, ...], *, by: str = "") -> Resource:
    """A kind of which no objects are kept; ``by``: the kind that answers its creation."""
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=False,
        verbs=verbs,
        columns=PLAIN,
        kept=False,
        answered_by=by,
    )


PROJECT_REQUEST = _asked(PROJECT_GROUP, "ProjectRequest", "projectrequests", ("create", "list"), by="Project")
USER = _asked(USER_GROUP, "User", "users", ("get",))
ACCESS_REVIEW = _asked(
    REVIEW_GROUP, "SubjectAccessReview", "subjectaccessreviews", ("create",), by="SubjectAccessReviewResponse"
)

RESOURCES = (PROJECT, PROJECT_REQUEST, USER, ACCESS_REVIEW)
