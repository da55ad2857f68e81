"""Reviews: questions put as objects that are not kept.

Source: authentication.k8s.io/v1 (TokenReview, SelfSubjectReview), authorization.k8s.io/v1 (the access reviews).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from isthmus.lab.apiserver.changes.checks import check_types
from isthmus.lab.apiserver.errors import bad_request, invalid, method_not_allowed, required
from isthmus.lab.apiserver.identity.rbac import Attributes, rules_for
from isthmus.lab.apiserver.identity.tokens import API_AUDIENCES, TokenRefusedError
from isthmus.lab.apiserver.identity.user import MASTERS, User
from isthmus.lab.apiserver.objects import Object
from isthmus.lab.apiserver.rest.answers import json_answer
from isthmus.lab.apiserver.rest.body import decode_body
from isthmus.lab.apiserver.rest.services import Call, Services
from isthmus.lab.apiserver.rest.writing import check_kind

Spec = Mapping[str, Any]


Answered = Callable[[Services, Call], Awaitable[Response]]
"""How a kind is answered of which no objects are kept."""


def asked(call: Call) -> Object:
    """The question that a POST puts. Raises StatusError."""
    if call.verb != "create":
        raise method_not_allowed()
    obj = decode_body(call.body, call.content_type)
    check_kind(obj, call.target.resource)
    check_types(obj, call.target.resource.gvk)
    return obj


def _review(judge: Callable[[Services, Call, Spec], Object]) -> Answered:
    """A review is answered with itself, and in its status what ``judge`` says of its spec."""

    async def answer(services: Services, call: Call) -> Response:
        obj = asked(call)
        status = judge(services, call, obj.get("spec") or {})
        meta = {**obj["metadata"], "creationTimestamp": None}
        return json_answer({**obj, "metadata": meta, "status": status}, status=201)

    return answer


def _self_subject(_services: Services, call: Call, _spec: Spec) -> Object:
    return {"userInfo": call.user.to_json()}


def _token(services: Services, _call: Call, spec: Spec) -> Object:
    """Whether a token is good for one of the audiences asked (the server's own if none is)."""
    token = spec.get("token")
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    wanted = tuple(spec.get("audiences") or API_AUDIENCES)
    try:
        user = services.authenticator.token_user(token, audiences=wanted)
        held = services.authenticator.audiences(token)
    except TokenRefusedError as error:
        return {"user": {}, "error": f"[invalid bearer token, {error}]"}
    return {"authenticated": True, "user": user.to_json(), "audiences": [one for one in wanted if one in held]}


def attributes_of(spec: Spec) -> Attributes:
    """What an access review asks about. Raises StatusError (422) when it asks about nothing or two things."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(resource is not None) == bool(path is not None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise invalid("SubjectAccessReview.authorization.k8s.io", "", [required("spec.resourceAttributes", why)])
    if path is not None:
        return Attributes(verb=str(path.get("verb", "")), path=str(path.get("path", "")) or "/")
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{name: str((resource or {}).get(name) or "") for name in names})


def _access(services: Services, user: User, attributes: Attributes) -> Object:
    return {"allowed": services.authorizer.allowed(user, attributes)}


def _self_access(services: Services, call: Call, spec: Spec) -> Object:
    return _access(services, call.user, attributes_of(spec))


def _subject_access(services: Services, _call: Call, spec: Spec) -> Object:
    user = User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""))
    return _access(services, user, attributes_of(spec))


def _local_access(services: Services, call: Call, spec: Spec) -> Object:
    user = User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""))
    return _access(services, user, replace(attributes_of(spec), namespace=call.target.namespace))


_EVERYTHING: tuple[Mapping[str, Any], ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


def _self_rules(services: Services, call: Call, spec: Spec) -> Object:
    namespace = spec.get("namespace")
    if not namespace:
        raise bad_request("no namespace on request")
    masters = MASTERS in call.user.groups
    rules = _EVERYTHING if masters else tuple(rules_for(call.user, namespace, services.authorizer.policies()))
    return {
        "resourceRules": [_resource_rule(rule) for rule in rules if not rule.get("nonResourceURLs")],
        "nonResourceRules": [
            {"verbs": rule.get("verbs"), "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": False,
    }


def _resource_rule(rule: Mapping[str, Any]) -> Object:
    return {name: rule[name] for name in ("verbs", "apiGroups", "resources", "resourceNames") if rule.get(name)}


REVIEWS: Mapping[str, Answered] = {
    "SelfSubjectReview.authentication.k8s.io": _review(_self_subject),
    "TokenReview.authentication.k8s.io": _review(_token),
    "SelfSubjectAccessReview.authorization.k8s.io": _review(_self_access),
    "SubjectAccessReview.authorization.k8s.io": _review(_subject_access),
    "LocalSubjectAccessReview.authorization.k8s.io": _review(_local_access),
    "SelfSubjectRulesReview.authorization.k8s.io": _review(_self_rules),
}
"""By ``Kind.group``."""
