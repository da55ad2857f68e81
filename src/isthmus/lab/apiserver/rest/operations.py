"""What may be done to a resource, as OpenAPI v3 path items: methods, parameters, bodies, answers. Pure.

Source: Kubernetes API reference, the operations of each resource; OpenAPI Specification 3.0, Path Item Object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.builtin import SUBRESOURCE_VERBS, spoken_kind
from isthmus.lab.apiserver.kinds.resource import GroupVersionKind, version_path
from isthmus.lab.apiserver.rest.writing import accepted_patches, scale_patches

JSON, YAML, TEXT = "application/json", "application/yaml", "text/plain"
OBJECT_META, LIST_META, STATUS, DELETE_OPTIONS, PATCH = (
    f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}"
    for name in ("ObjectMeta", "ListMeta", "Status", "DeleteOptions", "Patch")
)

PathItems = dict[str, Any]


def schema_name(group: str, version: str, kind: str) -> str:
    """The name of a kind's schema among the document's components."""
    return f"{'.'.join(reversed((group or 'core').split('.')))}.{version}.{kind}"


def path_items(resource: Resource) -> PathItems:
    """Every path of a resource and of its subresources."""
    root = f"/{version_path(resource.group, resource.version)}"
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    one = f"{root}{space}/{resource.plural}/{{name}}"
    found = {f"{root}{space}/{resource.plural}": _collection(resource), one: _object(resource)}
    if resource.namespaced and "list" in resource.verbs:
        found[f"{root}/{resource.plural}"] = {"get": _list(resource)}
    for name in sorted(resource.subresources):
        found[f"{one}/{name}"] = _subresource(resource, name)
    return {path: {**item, "parameters": _placed(path)} for path, item in found.items() if item}


def _placed(path: str) -> list[dict[str, Any]]:
    """The parameters that stand in a path."""
    return [_parameter(name, place="path") for name in ("namespace", "name") if f"{{{name}}}" in path]


def _parameter(name: str, kind: str = "string", *, place: str = "query") -> dict[str, Any]:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, **required, "schema": {"type": kind}}


def _queries(texts: str, *, integers: str = "", booleans: str = "") -> list[dict[str, Any]]:
    """Parameters of a query by the type of their values, named one after another."""
    kinds = {"string": texts, "integer": integers, "boolean": booleans}
    return [_parameter(name, kind) for kind, names in kinds.items() for name in names.split()]


_WRITE = _queries("dryRun fieldManager fieldValidation")
_PATCH = [*_WRITE, _parameter("force", "boolean")]
_DELETE = _queries("dryRun propagationPolicy", integers="gracePeriodSeconds")
_LIST = _queries(
    "labelSelector fieldSelector continue resourceVersion resourceVersionMatch",
    integers="limit timeoutSeconds",
    booleans="watch allowWatchBookmarks sendInitialEvents",
)
_LOG = _queries("container", integers="limitBytes sinceSeconds tailLines", booleans="follow previous timestamps")


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Mapping[str, Any], kinds: Iterable[str] = (JSON,)) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind in kinds}


def _operation(
    kind: GroupVersionKind,
    action: str,
    answers: Mapping[str, Mapping[str, Any]],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation. ``answers``: the content of each status code; every other one is a Status."""
    responses = {code: {"description": "OK", "content": content} for code, content in answers.items()}
    wrong = {"description": "What is wrong", "content": _content(reference(STATUS))}
    found: dict[str, Any] = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind._asdict(),
        "responses": {**responses, "default": wrong},
    }
    if parameters:
        found["parameters"] = parameters
    if body:
        found["requestBody"] = {"content": dict(body)}
    return found


def _kind(resource: Resource, subresource: str = "") -> dict[str, str]:
    return reference(schema_name(*spoken_kind(resource, subresource)))


def _list(resource: Resource) -> dict[str, Any]:
    if not resource.kept:
        return _operation(resource.gvk, "list", {"200": _content(reference(STATUS))})
    name = schema_name(resource.group, resource.version, resource.list_name)
    return _operation(resource.gvk, "list", {"200": _content(reference(name))}, parameters=_LIST)


def _create(resource: Resource) -> dict[str, Any]:
    created = schema_name(*resource.created_kind)
    body = _content(_kind(resource), (JSON, YAML))
    return _operation(resource.gvk, "post", {"201": _content(reference(created))}, parameters=_WRITE, body=body)


def _collection(resource: Resource) -> PathItems:
    found: PathItems = {}
    if "list" in resource.verbs:
        found["get"] = _list(resource)
    if "create" in resource.verbs:
        found["post"] = _create(resource)
    if "deletecollection" in resource.verbs:
        name = schema_name(resource.group, resource.version, resource.list_name)
        answers = {"200": _content(reference(name))}
        body = _content(reference(DELETE_OPTIONS))
        found["delete"] = _operation(
            resource.gvk, "deletecollection", answers, parameters=[*_DELETE, *_LIST], body=body
        )
    return found


def _object(resource: Resource, subresource: str = "") -> PathItems:
    verbs = SUBRESOURCE_VERBS[subresource] if subresource else resource.verbs
    gvk, kind = spoken_kind(resource, subresource), _content(_kind(resource, subresource))
    found: PathItems = {}
    if "get" in verbs:
        found["get"] = _operation(gvk, "get", {"200": kind})
    if "update" in verbs:
        body = _content(_kind(resource, subresource), (JSON, YAML))
        found["put"] = _operation(gvk, "put", {"200": kind}, parameters=_WRITE, body=body)
    if "patch" in verbs:
        body = _content(reference(PATCH), _patches(resource, subresource))
        answers = {"200": kind} if subresource else {"200": kind, "201": kind}
        found["patch"] = _operation(gvk, "patch", answers, parameters=_PATCH, body=body)
    if "delete" in verbs and not subresource:
        gone = {"200": _content({"anyOf": [reference(STATUS), _kind(resource)]})}
        body = _content(reference(DELETE_OPTIONS))
        found["delete"] = _operation(gvk, "delete", gone, parameters=_DELETE, body=body)
    return found


def _patches(resource: Resource, subresource: str) -> tuple[str, ...]:
    if subresource == "scale":
        return scale_patches(resource)
    return accepted_patches(resource)


def _subresource(resource: Resource, name: str) -> PathItems:
    if name == "log":
        return {"get": _operation(resource.gvk, "get", {"200": _content({"type": "string"}, (TEXT,))}, parameters=_LOG)}
    if name == "token":
        body = _content(_kind(resource, name), (JSON, YAML))
        kind = spoken_kind(resource, name)
        return {"post": _operation(kind, "post", {"201": _content(_kind(resource, name))}, body=body)}
    return _object(resource, name)
