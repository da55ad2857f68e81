"""What ``oc`` asks of OpenShift beside objects: to make a project for whoever asks, who that is, and what it may do.

Source: OpenShift API reference, ProjectRequest, User, SubjectAccessReview of authorization.openshift.io.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from isthmus.lab.apiserver.changes import DeleteOptions, WriteOptions
from isthmus.lab.apiserver.errors import (
    StatusError,
    already_exists,
    bad_request,
    forbidden,
    method_not_allowed,
    not_found,
)
from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.kinds.openshift import (
    ACCESS_REVIEW,
    DESCRIPTION,
    DISPLAY_NAME,
    PROJECT,
    PROJECT_REQUEST,
    REQUESTER,
    USER,
)
from isthmus.lab.apiserver.objects import Key, Object, metadata
from isthmus.lab.apiserver.rest.answers import json_answer
from isthmus.lab.apiserver.rest.reviews import REVIEWS, Answered, asked
from isthmus.lab.apiserver.rest.services import Call, Services, home
from isthmus.lab.apiserver.rest.tables import table, table_request
from isthmus.lab.apiserver.rest.target import Target
from isthmus.lab.apiserver.rest.writing import answer, options_of

_RBAC = "rbac.authorization.k8s.io"
_RESERVED = ("openshift", "kubernetes", "kube")
MYSELF = "~"
"""The name of whoever asks."""


# ProjectRequest


async def _request_project(services: Services, call: Call) -> Response:
    """POST makes a Namespace of which who asks is the administrator; GET tells whether one may ask at all."""
    if call.verb == "list":
        return json_answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
    request = asked(call)
    name, project = _requested_name(request), Target(PROJECT)
    resource, options = home(services, project).resource, replace(options_of(call), api_version="v1")
    try:
        outcome = await services.changes.create(
            resource, _namespace(request, name, call), namespace="", options=options
        )
    except StatusError as error:
        if error.reason == "AlreadyExists":
            raise already_exists(PROJECT.group_resource, name) from error
        raise
    if not options.dry_run:
        try:
            await _make_admin(services, name, call.user, options)
        except StatusError:  # a project without an administrator would keep its name from who asked for it
            await services.changes.delete(resource, Key(resource.storage, "", name), DeleteOptions())
            raise
    return answer(services, replace(call, target=project), outcome)


def _requested_name(request: Object) -> str:
    name = metadata(request).get("name")
    if not name:
        raise bad_request("ProjectRequest: metadata.name must be the name of the project")
    for reserved in _RESERVED:
        if name == reserved:
            raise forbidden(PROJECT.group_resource, name, f'cannot request a project with the name "{reserved}"')
        if name.startswith(f"{reserved}-"):
            raise forbidden(PROJECT.group_resource, name, f'cannot request a project starting with "{reserved}-"')
    return str(name)


def _namespace(request: Object, name: str, call: Call) -> Object:
    """The Namespace that is asked for."""
    annotations = {REQUESTER: call.user.name}
    for annotation, given in ((DISPLAY_NAME, "displayName"), (DESCRIPTION, "description")):
        if text := request.get(given):
            annotations[annotation] = text
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


async def _make_admin(services: Services, namespace: str, user: User, options: WriteOptions) -> None:
    bindings = services.registry.of_kind(_RBAC, "v1", "RoleBinding")
    if bindings is None:
        raise LookupError("RoleBindings are not served")
    binding: Object = {
        "apiVersion": bindings.api_version,
        "kind": bindings.kind,
        "metadata": {"name": "admin"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user.name}],
    }
    options = replace(options, api_version=bindings.api_version, user=None)
    await services.changes.create(bindings, binding, namespace=namespace, options=options)


# User


async def _user(services: Services, call: Call) -> Response:
    """GET of who asks. Raises StatusError (404): no others are kept."""
    if call.verb != "get":
        raise method_not_allowed()
    if call.target.name not in (MYSELF, call.user.name):
        raise not_found(USER.group_resource, call.target.name)
    user: Object = {
        "kind": USER.kind,
        "apiVersion": USER.api_version,
        "metadata": {"name": call.user.name, "creationTimestamp": None},
        "groups": list(call.user.groups),
        "identities": None,
    }
    tabular = table_request(call.accept, call.query.get("includeObject", ""))
    if tabular is None:
        return json_answer(user)
    return json_answer(table(USER, [user], tabular, now=services.clock(), metadata={}))


# SubjectAccessReview


async def _review_access(services: Services, call: Call) -> Response:
    """POST: may who asks, or somebody else, do that?"""
    review = asked(call)
    attributes = _attributes(review)
    response = {
        "kind": "SubjectAccessReviewResponse",
        "apiVersion": ACCESS_REVIEW.api_version,
        "namespace": attributes.namespace,
        "allowed": services.authorizer.allowed(_subject(services, call, review), attributes),
    }
    return json_answer(response, status=201)


def _attributes(review: Object) -> Attributes:
    texts = {name: str(review.get(given) or "") for name, given in _ACTION.items()}
    if review.get("scopes"):
        raise bad_request("SubjectAccessReview: a lab's tokens have no scopes; leave out scopes")
    texts["path"] = (texts["path"] or "/") if review.get("isNonResourceURL") else ""
    return Attributes(**texts)


_ACTION = {
    "verb": "verb",
    "group": "resourceAPIGroup",
    "resource": "resource",
    "namespace": "namespace",
    "name": "resourceName",
    "path": "path",
}


def _subject(services: Services, call: Call, review: Object) -> User:
    """Who is asked about. Raises StatusError: 403 when that is another, and who asks may not ask that."""
    name, groups = review.get("user") or "", review.get("groups") or []
    if not name and not groups:
        return call.user
    needed = Attributes(verb="create", group="authorization.k8s.io", resource="subjectaccessreviews")
    services.authorizer.require(call.user, needed)
    return User(name, tuple(groups))


ANSWERS: Mapping[str, Answered] = {
    **REVIEWS,
    PROJECT_REQUEST.group_kind: _request_project,
    USER.group_kind: _user,
    ACCESS_REVIEW.group_kind: _review_access,
}
"""How each kind is answered of which no objects are kept, by ``Kind.group``."""

__all__ = ["ANSWERS", "MYSELF"]
