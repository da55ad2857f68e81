"""The subresources that are more than a part of their object: scale, finalize, token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from starlette.responses import Response

from isthmus.lab.apiserver.changes.checks import check_types
from isthmus.lab.apiserver.changes.metadata import rfc3339
from isthmus.lab.apiserver.errors import (
    StatusError,
    bad_request,
    conflict,
    invalid,
    invalid_value,
    method_not_allowed,
    not_found,
    unsupported_media_type,
)
from isthmus.lab.apiserver.identity.tokens import API_AUDIENCES, Binding, Grant, Named
from isthmus.lab.apiserver.kinds.builtin import SUBRESOURCE_KINDS
from isthmus.lab.apiserver.kinds.columns import at
from isthmus.lab.apiserver.kinds.resource import Scale
from isthmus.lab.apiserver.objects import Key, Object, Stored, decode_object, metadata
from isthmus.lab.apiserver.patch import apply_json_patch, apply_merge_patch
from isthmus.lab.apiserver.rest.answers import Stream, json_answer
from isthmus.lab.apiserver.rest.body import decode_body, decode_json, media_type
from isthmus.lab.apiserver.rest.logs import pod_log
from isthmus.lab.apiserver.rest.reading import get_stored
from isthmus.lab.apiserver.rest.services import Call, Services
from isthmus.lab.apiserver.rest.target import NO_STREAMS, STREAMS
from isthmus.lab.apiserver.rest.writing import JSON_PATCH, check_kind, key_of, options_of, scale_patches

Subresource = Callable[[Services, Call], Awaitable[Response | Stream]]


# scale: autoscaling/v1 Scale, a view of an object's replicas


def scale_of(obj: Object, scale: Scale) -> dict[str, Any]:
    """An object's replicas as a Scale."""
    meta = metadata(obj)
    kept = {name: meta[name] for name in _SCALE_METADATA if name in meta}
    status: dict[str, Any] = {"replicas": at(obj, scale.status_path, 0)}
    if selector := _selector_text(obj, scale):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {"replicas": at(obj, scale.spec_path, 0)},
        "status": status,
    }


_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _selector_text(obj: Object, scale: Scale) -> str:
    labels = at(obj, "spec.selector.matchLabels", None)
    if isinstance(labels, Mapping):
        return ",".join(f"{key}={labels[key]}" for key in sorted(labels))
    return str(at(obj, scale.selector_path, "")) if scale.selector_path else ""


def _scale_at(call: Call) -> Scale:
    scale = call.target.resource.scale
    if scale is None:
        raise method_not_allowed()
    return scale


def _replicas(wanted: Any, call: Call) -> int:
    replicas = at(wanted, "spec.replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        error = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid("Scale.autoscaling", call.target.name, [error])
    return replicas


def _scaling(call: Call, scale: Scale) -> Callable[[Object], Object]:
    """The change of the object that a PUT or PATCH of its Scale asks for."""
    edit = _scale_edit(call)

    def change(current: Object) -> Object:
        before = scale_of(current, scale)
        wanted = edit(before)
        if not isinstance(wanted, dict):
            raise bad_request("the patched value is no Scale any more")
        check_kind(wanted, SUBRESOURCE_KINDS["scale"])
        check_types(wanted, SUBRESOURCE_KINDS["scale"])
        revision = at(wanted, "metadata.resourceVersion", "")
        if revision and revision != metadata(current).get("resourceVersion"):
            raise conflict(call.target.resource.group_resource, call.target.name)
        _set(current, scale.spec_path, _replicas(wanted, call))
        return current

    return change


def _scale_edit(call: Call) -> Callable[[Object], Any]:
    if call.method == "PUT":
        given = decode_body(call.body, call.content_type)
        return lambda _: given
    kind, accepted = media_type(call.content_type), scale_patches(call.target.resource)
    if kind not in accepted:
        raise unsupported_media_type(accepted)
    body = decode_json(call.body)
    apply = apply_json_patch if kind == JSON_PATCH else apply_merge_patch  # a Scale has no lists to merge
    return lambda before: apply(before, body)


def _set(obj: Object, path: str, value: Any) -> None:
    *above, last = path.split(".")
    for part in above:
        obj = obj.setdefault(part, {})
    obj[last] = value


async def scale(services: Services, call: Call) -> Response:
    """GET, PUT and PATCH of ``/scale``."""
    where = _scale_at(call)
    if call.method in ("GET", "HEAD"):
        stored = get_stored(services.store.state, call.target)
        return json_answer(scale_of(stored.object(), where))
    outcome = await services.changes.update(
        call.target.resource, key_of(call.target), _scaling(call, where), options=options_of(call)
    )
    return json_answer(scale_of(decode_object(outcome.data), where))


# finalize: the last word about a namespace


async def finalize(services: Services, call: Call) -> Response:
    """PUT of ``/finalize``: replaces ``spec.finalizers``; the namespace goes when none is left."""
    if call.method != "PUT":
        raise method_not_allowed()
    given = decode_body(call.body, call.content_type)
    check_kind(given, call.target.resource)
    check_types(given, call.target.resource.gvk)
    finalizers = at(given, "spec.finalizers", [])

    def change(current: Object) -> Object:
        current["spec"] = {"finalizers": finalizers} if finalizers else {}
        return current

    outcome = await services.changes.update(call.target.resource, key_of(call.target), change, options=options_of(call))
    return json_answer(outcome.data)


# token: TokenRequest


class _BoundTo(msgspec.Struct):
    kind: str = ""
    name: str = ""
    uid: str = ""


class _TokenSpec(msgspec.Struct):
    audiences: list[str] | None = None
    expirationSeconds: int | None = None  # noqa: N815  # the API's name
    boundObjectRef: _BoundTo | None = None  # noqa: N815  # the API's name


SHORTEST_S = 600
LONGEST_S = 1 << 32


async def token(services: Services, call: Call) -> Response:
    """POST of a TokenRequest for a service account."""
    if call.method != "POST":
        raise method_not_allowed()
    request = decode_body(call.body, call.content_type)
    check_kind(request, SUBRESOURCE_KINDS["token"])
    check_types(request, SUBRESOURCE_KINDS["token"])
    account = get_stored(services.store.state, call.target)
    spec = _token_spec(request)
    lifetime_s = spec.expirationSeconds or 3600
    if not SHORTEST_S <= lifetime_s <= LONGEST_S:
        why = "may not specify a duration less than 10 minutes" if lifetime_s < SHORTEST_S else "may not be that long"
        error = invalid_value("spec.expirationSeconds", lifetime_s, why)
        raise invalid("TokenRequest.authentication.k8s.io", "", [error])
    audiences = tuple(spec.audiences or API_AUDIENCES)
    grant = Grant(_binding(services, call, account, spec), audiences, timedelta(seconds=lifetime_s))
    text, expires = services.tokens.sign(grant, now=services.clock())
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.target.name, "namespace": call.target.namespace, "creationTimestamp": None},
        "spec": {**(request.get("spec") or {}), "audiences": list(audiences), "expirationSeconds": lifetime_s},
        "status": {"token": text, "expirationTimestamp": rfc3339(expires)},
    }
    return json_answer(answer, status=201)


def _token_spec(request: Mapping[str, Any]) -> _TokenSpec:
    try:
        return msgspec.convert(request.get("spec") or {}, _TokenSpec)
    except msgspec.ValidationError as error:
        raise bad_request(f"TokenRequest: {error}") from error


def _binding(services: Services, call: Call, account: Stored, spec: _TokenSpec) -> Binding:
    named = Named(call.target.name, str(metadata(account.object())["uid"]))
    bound = spec.boundObjectRef
    if bound is None or not bound.kind:
        return Binding(call.target.namespace, named)
    plural = {"Pod": "pods", "Secret": "secrets"}.get(bound.kind)
    if plural is None:
        raise bad_request(
            f"cannot bind token for serviceaccount to object of kind '{bound.kind}', expected Pod or Secret"
        )
    stored = services.store.state.get(Key(plural, call.target.namespace, bound.name))
    if stored is None:
        raise not_found(plural, bound.name)
    uid = str(metadata(stored.object())["uid"])
    if bound.uid and bound.uid != uid:
        why = f"the UID in the bound object reference ({bound.uid}) does not match the UID in record"
        raise conflict(plural, bound.name, f"{why} ({uid}). The object might have been deleted and then recreated")
    to = Named(bound.name, uid)
    if bound.kind == "Pod":
        return Binding(call.target.namespace, named, pod=to)
    return Binding(call.target.namespace, named, secret=to)


async def _no_stream(_services: Services, _call: Call) -> Response:
    raise StatusError(405, "MethodNotAllowed", NO_STREAMS, details={})


SUBRESOURCES: Mapping[str, Subresource] = {
    "scale": scale,
    "finalize": finalize,
    "token": token,
    "log": pod_log,
    **dict.fromkeys(STREAMS, _no_stream),
}
