"""OpenAPI v3: the root, and one document per group and version. Pure.

kubectl reads it to learn that the server validates fields (a ``patch`` operation with ``fieldValidation``), and to
explain custom kinds (their schemas). Source: Kubernetes documentation, "OpenAPI V3".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from isthmus.lab.apiserver.kinds import Registry, Resource
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.schema import builtin_schema

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_TYPE_DESCRIPTIONS = {
    "apiVersion": "The version of the schema that this object is written in.",
    "kind": "The kind of this object.",
}


def _gv_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def documents(registry: Registry) -> dict[str, bytes]:
    """Every document, by its path (``api/v1``, ``apis/G/V``)."""
    return {
        _gv_path(group, version): encode_json(document(group, version, resources))
        for group, versions in registry.versions()
        for version, resources in versions
    }


def root(found: Mapping[str, bytes]) -> dict[str, Any]:
    """``GET /openapi/v3``: where the documents are, each under its hash."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest(data)}"} for path, data in found.items()
        }
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest().upper()


def document(group: str, version: str, resources: Sequence[Resource]) -> dict[str, Any]:
    """The document of one group and version."""
    paths: dict[str, Any] = {}
    for resource in resources:
        paths |= _paths(group, version, resource)
    schemas: dict[str, Any] = {}
    for resource in resources:
        schemas[_schema_name(resource)] = _schema(resource) if resource.custom else _built_in(resource, schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": {**schemas, _META: _object_meta()}},
    }


def _gvk(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(group: str, version: str, resource: Resource) -> dict[str, Any]:
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{_gv_path(group, version)}{space}/{resource.plural}"
    operation = {"responses": _responses(resource), "x-kubernetes-group-version-kind": _gvk(resource)}
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _PARAMETERS]
    found: dict[str, Any] = {
        collection: {"post": {**operation, "x-kubernetes-action": "post", "parameters": parameters}}
    }
    if "patch" in resource.verbs:
        found[f"{collection}/{{name}}"] = {
            "get": {**operation, "x-kubernetes-action": "get"},
            "put": {**operation, "x-kubernetes-action": "put", "parameters": parameters},
            "patch": {**operation, "x-kubernetes-action": "patch", "parameters": parameters},
        }
    return found


_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _responses(resource: Resource) -> dict[str, Any]:
    if not resource.custom:
        return {}
    schema = {"$ref": f"#/components/schemas/{_schema_name(resource)}"}
    return {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}


def _schema_name(resource: Resource) -> str:
    reverse = ".".join(reversed((resource.group or "core").split(".")))
    return f"{reverse}.{resource.version}.{resource.kind}"


def _schema(resource: Resource) -> dict[str, Any]:
    schema = dict(resource.schema or {"type": "object"})
    properties = dict(schema.get("properties") or {})
    for name, description in _TYPE_DESCRIPTIONS.items():
        properties[name] = {"type": "string", "description": description}
    properties["metadata"] = {
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
    }
    schema["properties"] = properties
    schema["x-kubernetes-group-version-kind"] = [_gvk(resource)]
    return schema


def _object_meta() -> dict[str, Any]:
    properties = builtin_schema("", "v1", "ConfigMap")["properties"]["metadata"]["properties"]
    return {
        "type": "object",
        "description": "Metadata that all persisted resources have.",
        "properties": {name: plain(one) for name, one in properties.items()},
    }


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as OpenAPI v3 writes it: without this server's own marks, in one piece."""
    return _rewritten(schema, plain)


def _rewritten(schema: Mapping[str, Any], below: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    out = {name: value for name, value in schema.items() if name != "x-model"}
    if "properties" in out:
        out["properties"] = {name: below(one) for name, one in out["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(out.get(name), Mapping):
            out[name] = below(out[name])
    return out or {"type": "object"}


def _built_in(resource: Resource, schemas: dict[str, Any]) -> dict[str, Any]:
    """A built-in kind's schema; the types it is made of are put beside it, each once."""

    def referred(schema: Mapping[str, Any]) -> dict[str, Any]:
        name = schema.get("x-model")
        if name is None:
            return _rewritten(schema, referred)
        place = f"io.k8s.api.{name}"
        if place not in schemas:
            schemas[place] = {}
            schemas[place] = _rewritten(schema, referred)
        return {"description": "", "allOf": [{"$ref": f"#/components/schemas/{place}"}]}

    schema = _rewritten(builtin_schema(resource.group, resource.version, resource.kind), referred)
    return {**schema, "x-kubernetes-group-version-kind": [_gvk(resource)]}
