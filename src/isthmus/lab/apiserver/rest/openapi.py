"""OpenAPI v3: the root, and one document per group and version. Pure.

kubectl reads it to learn that the server validates fields (a ``patch`` operation with ``fieldValidation``), and to
explain custom kinds (their schemas). Source: Kubernetes documentation, "OpenAPI V3".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from isthmus.lab.apiserver.kinds import Registry, Resource
from isthmus.lab.apiserver.kinds.builtin import spoken_kind
from isthmus.lab.apiserver.kinds.resource import GroupVersionKind, version_path
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.rest.operations import (
    DELETE_OPTIONS,
    LIST_META,
    OBJECT_META,
    PATCH,
    STATUS,
    path_items,
    reference,
    schema_name,
)
from isthmus.lab.apiserver.schema import builtin_schema

_TYPE_PROPERTIES = {
    "apiVersion": {"type": "string", "description": "The version of the schema that this object is written in."},
    "kind": {"type": "string", "description": "The kind of this object."},
}


def documents(registry: Registry) -> dict[str, bytes]:
    """Every document, by its path (``api/v1``, ``apis/G/V``)."""
    return {
        version_path(group, version): encode_json(document(group, version, resources))
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
    schemas: dict[str, Any] = {}
    for resource in resources:
        paths |= path_items(resource)
        schemas[_name(resource)] = _schema(resource) if resource.custom else _built_in(resource.gvk, schemas)
        schemas |= _listed(resource)
        for other in _others(resource):
            schemas[schema_name(*other)] = _built_in(other, schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": {**schemas, **_meta()}},
    }


def _name(resource: Resource) -> str:
    return schema_name(*resource.gvk)


def _others(resource: Resource) -> set[GroupVersionKind]:
    """The kinds beside its own that a resource's paths speak."""
    spoken = {spoken_kind(resource, name) for name in resource.subresources}
    spoken.add(resource.created_kind)
    return spoken - {resource.gvk}


def _listed(resource: Resource) -> dict[str, Any]:
    """The schema of a resource's lists, if it has any."""
    if "watch" not in resource.verbs:
        return {}
    kind = resource.gvk._replace(kind=resource.list_name)
    return {
        schema_name(*kind): {
            "type": "object",
            "required": ["items"],
            "properties": {
                **_TYPE_PROPERTIES,
                "metadata": reference(LIST_META),
                "items": {"type": "array", "items": reference(_name(resource))},
            },
            "x-kubernetes-group-version-kind": [kind._asdict()],
        }
    }


def _schema(resource: Resource) -> dict[str, Any]:
    schema = dict(resource.schema or {"type": "object"})
    meta = {"description": "Standard object's metadata.", "allOf": [reference(OBJECT_META)]}
    schema["properties"] = {**(schema.get("properties") or {}), **_TYPE_PROPERTIES, "metadata": meta}
    schema["x-kubernetes-group-version-kind"] = [resource.gvk._asdict()]
    return schema


def _meta() -> dict[str, Any]:
    """What every document has: metadata, and what is told and asked beside objects."""
    told = plain(builtin_schema("meta.k8s.io", "v1", "Status"))
    return {
        OBJECT_META: {
            **plain(builtin_schema("", "v1", "ConfigMap")["properties"]["metadata"]),
            "description": "Metadata that all persisted resources have.",
        },
        LIST_META: plain(builtin_schema("meta.k8s.io", "v1", "ListMeta")),
        DELETE_OPTIONS: plain(builtin_schema("meta.k8s.io", "v1", "DeleteOptions")),
        STATUS: {**told, "required": ["kind", "apiVersion", "status"]},
        PATCH: {"description": "A change of an object, in the form that its media type names."},
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


def _built_in(kind: GroupVersionKind, schemas: dict[str, Any]) -> dict[str, Any]:
    """A built-in kind's schema; the types it is made of are put beside it, each once."""

    def referred(schema: Mapping[str, Any]) -> dict[str, Any]:
        name = schema.get("x-model")
        if name is None:
            return _rewritten(schema, referred)
        place = OBJECT_META if name == "ObjectMeta" else f"io.k8s.api.{name}"
        if place not in schemas and place != OBJECT_META:
            schemas[place] = {}
            schemas[place] = _rewritten(schema, referred)
        return {"description": "", "allOf": [reference(place)]}

    schema = _rewritten(builtin_schema(*kind), referred)
    return {**schema, "x-kubernetes-group-version-kind": [kind._asdict()]}
