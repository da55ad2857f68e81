"""Create, update, patch and delete as requests: from a body to a change, from its outcome to an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from isthmus.lab.apiserver.changes import Outcome, WriteOptions
from isthmus.lab.apiserver.changes.changes import Change
from isthmus.lab.apiserver.errors import (
    StatusError,
    bad_request,
    invalid,
    invalid_value,
    required,
    unsupported_media_type,
)
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.resource import GroupVersionKind
from isthmus.lab.apiserver.objects import Key, Object, Stored, copied, decode_object, encode_json, metadata
from isthmus.lab.apiserver.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from isthmus.lab.apiserver.rest.answers import json_answer
from isthmus.lab.apiserver.rest.body import DEPTH_LIMIT, decode_body, decode_json, decode_yaml, deeper_than, media_type
from isthmus.lab.apiserver.rest.options import delete_options, list_options, write_options
from isthmus.lab.apiserver.rest.reading import list_body, object_table, read_page
from isthmus.lab.apiserver.rest.services import Call, Services, home
from isthmus.lab.apiserver.rest.tables import table_request
from isthmus.lab.apiserver.rest.target import Target, attributes_of
from isthmus.lab.apiserver.rest.views import shown, shown_form, stored_form

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    JSON_PATCH: apply_json_patch,
    MERGE_PATCH: apply_merge_patch,
    STRATEGIC_PATCH: apply_strategic_patch,
}
_FOR_CUSTOM = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
_FOR_BUILT_IN = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_FOR_CHECKED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


def accepted_patches(resource: Resource) -> tuple[str, ...]:
    """The media types of the patches that a kind takes. Not to be applied is what not all of may be changed."""
    if resource.custom:
        return _FOR_CUSTOM
    return _FOR_CHECKED if resource.view and resource.view.check else _FOR_BUILT_IN


def scale_patches(resource: Resource) -> tuple[str, ...]:
    """The media types of the patches that the ``/scale`` of a kind takes."""
    return tuple(kind for kind in accepted_patches(resource) if kind != APPLY_PATCH)


def check_kind(obj: Object, wanted: Resource | GroupVersionKind) -> None:
    """The object is of the kind that its path serves; an absent kind is filled in. Raises StatusError (400)."""
    api_version = obj.setdefault("apiVersion", wanted.api_version) or wanted.api_version
    kind = obj.setdefault("kind", wanted.kind) or wanted.kind
    if api_version != wanted.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version"
            f" ({wanted.api_version})"
        )
    if kind != wanted.kind:
        raise bad_request(
            f'{kind} in version "{wanted.version}" cannot be handled as a {wanted.kind}: no kind'
            f' "{kind}" is registered for version "{wanted.api_version}"'
        )
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    if not isinstance(obj["metadata"], dict):
        raise bad_request(f'{wanted.kind} in version "{wanted.version}": metadata must be an object')


async def create(services: Services, call: Call) -> Response:
    """POST to a collection."""
    target = call.target
    obj = decode_body(call.body, call.content_type)
    check_kind(obj, target.resource)
    stored_target = home(services, target)
    outcome = await services.changes.create(
        stored_target.resource, stored_form(target.resource, obj), namespace=target.namespace, options=options_of(call)
    )
    return answer(services, call, outcome)


async def update(services: Services, call: Call) -> Response:
    """PUT of an object or its status."""
    obj = decode_body(call.body, call.content_type)
    check_kind(obj, call.target.resource)
    if call.target.resource.custom and not metadata(obj).get("resourceVersion"):
        error = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(call.target.resource.group_kind, call.target.name, [error])
    new = encode_json(obj)
    return await _change(services, call, lambda _: decode_object(new))


async def patch(services: Services, call: Call) -> Response:
    """PATCH by any of the patch types."""
    kind = media_type(call.content_type)
    accepted = accepted_patches(call.target.resource)
    if kind not in accepted:
        raise unsupported_media_type(accepted)
    if kind == APPLY_PATCH:
        return await apply(services, call)
    return await _change(services, call, patching(kind, decode_json(call.body)))


def patching(kind: str, body: Any) -> Change:
    """The change that a patch body asks for."""

    def change(current: Object) -> Object:
        patched = _PATCHES[kind](current, body)
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise StatusError(422, "Invalid", "the patched value is no object with metadata any more")
        if kind == JSON_PATCH and deeper_than(patched, DEPTH_LIMIT):  # no other leaves more levels than it has itself
            raise StatusError(422, "Invalid", f"the patched value is nested more than {DEPTH_LIMIT} deep")
        return patched

    return change


async def apply(services: Services, call: Call) -> Response:
    """Server-side apply."""
    applied = decode_yaml(call.body)
    if not isinstance(applied, dict):
        raise bad_request("couldn't read the body: expected an object")
    check_kind(applied, call.target.resource)
    if not call.query.get("fieldManager"):
        error = required("fieldManager", "is required for apply patch")
        raise invalid("PatchOptions.meta.k8s.io", "", [error])
    if metadata(applied).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    target = home(services, call.target)
    _check_may_create(services, call, target)
    wanted = stored_form(call.target.resource, applied)
    outcome = await services.changes.apply(target.resource, key_of(target), wanted, options=options_of(call))
    return answer(services, call, outcome)


def _check_may_create(services: Services, call: Call, target: Target) -> None:
    """Who makes an object by applying it needs the right to create it, too. Raises StatusError (403)."""
    if call.target.subresource or services.store.state.get(key_of(target)) is not None:
        return
    services.authorizer.require(call.user, attributes_of("create", call.target))


def options_of(call: Call) -> WriteOptions:
    options = write_options(call.query, user_agent=call.user_agent)
    resource = call.target.resource
    return replace(options, api_version=resource.api_version, subresource=call.target.subresource, user=call.user)


async def _change(services: Services, call: Call, change: Change) -> Response:
    """Carry out a change of the object as its resource shows it."""
    target, resource = home(services, call.target), call.target.resource
    check = resource.view.check if resource.view else None

    def stored_change(current: Object) -> Object:
        before = copied(current) if check else current  # it may be changed in place
        changed = change(shown_form(resource, current))
        if check and (errors := check(changed, before)):
            raise invalid(resource.group_kind, call.target.name, errors)
        return stored_form(resource, changed)

    outcome = await services.changes.update(target.resource, key_of(target), stored_change, options=options_of(call))
    return answer(services, call, outcome)


def key_of(target: Target) -> Key:
    return Key(target.resource.storage, target.namespace, target.name)


async def delete(services: Services, call: Call) -> Response:
    """DELETE of one object."""
    body = _options_body(call)
    target = home(services, call.target)
    outcome = await services.changes.delete(target.resource, key_of(target), delete_options(call.query, body))
    if not outcome.removed:
        return json_answer(shown(call.target.resource, outcome.data))
    return json_answer(_deleted_status(call.target, decode_object(outcome.data)))


def _options_body(call: Call) -> dict[str, Any]:
    if not call.body:
        return {}
    body = decode_body(call.body, call.content_type)
    if body.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body of a delete is a DeleteOptions, found {body['kind']}")
    return body


def _deleted_status(target: Target, obj: Object) -> dict[str, Any]:
    details = {"name": target.name, "kind": target.resource.plural, "uid": metadata(obj).get("uid", "")}
    if target.resource.group:
        details["group"] = target.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def delete_collection(services: Services, call: Call) -> Response:
    """DELETE of every object that the selectors choose; answers with what they were."""
    options = delete_options(call.query, _options_body(call))
    page = read_page(services.store.state, call.target, list_options(call.query, call.target.resource))
    target = home(services, call.target)
    for stored in page.objects:
        try:
            await services.changes.delete(target.resource, stored.key, options)
        except StatusError as error:
            if error.code != 404:
                raise
    return json_answer(list_body(call.target.resource, page))


def answer(services: Services, call: Call, outcome: Outcome) -> Response:
    """The object after a write, in the form that the client prefers."""
    resource = call.target.resource
    status = 201 if outcome.created else 200
    tabular = table_request(call.accept, call.query.get("includeObject", ""))
    if tabular is not None:
        obj = decode_object(outcome.data)
        key = Key(resource.storage, str(metadata(obj).get("namespace", "")), str(metadata(obj)["name"]))
        stored = Stored(key, int(metadata(obj).get("resourceVersion") or 0), outcome.data)
        content = object_table(resource, stored, tabular, clock=services.clock)
    else:
        content = shown(resource, outcome.data)
    return json_answer(content, status=status, warnings=outcome.warnings)
