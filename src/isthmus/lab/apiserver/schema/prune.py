"""Pruning and defaulting by a structural schema. Pure; both change the object in place.

Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions": field pruning, defaulting.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.lab.apiserver.kinds.resource import Schema

_ROOT_FIELDS = frozenset(("apiVersion", "kind", "metadata"))


def unknown_fields(value: Any, schema: Schema) -> list[str]:
    """Drop every field that the schema doesn't specify; returns their paths (``spec.a[0].b``)."""
    return list(_prune(value, schema, "", root=True))


def _prune(value: Any, schema: Schema, path: str, *, root: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _prune_object(value, schema, path, root=root or bool(schema.get("x-kubernetes-embedded-resource")))
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from _prune(item, schema["items"], f"{path}[{index}]")


def _prune_object(value: dict[str, Any], schema: Schema, path: str, *, root: bool) -> Iterator[str]:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    kept = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    for name in list(value):
        below = f"{path}.{name}" if path else name
        if root and name in _ROOT_FIELDS:
            continue  # a schema may name them, and restrict metadata.name; their fields are the API's own
        if name in properties:
            yield from _prune(value[name], properties[name], below)
        elif isinstance(additional, Mapping):
            yield from _prune(value[name], additional, below)
        elif not kept:
            del value[name]
            yield below


def set_defaults(value: Any, schema: Schema) -> None:
    """Set the defaults of absent fields, and drop nulls where the schema has a default and is not nullable."""
    if isinstance(value, dict):
        for name, below in (schema.get("properties") or {}).items():
            _default_field(value, name, below)
        additional = schema.get("additionalProperties")
        if isinstance(additional, Mapping):
            for name in value.keys() - (schema.get("properties") or {}).keys():
                set_defaults(value[name], additional)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            set_defaults(item, schema["items"])


def _default_field(value: dict[str, Any], name: str, schema: Schema) -> None:
    if "default" in schema and (name not in value or (value[name] is None and not schema.get("nullable"))):
        value[name] = copy.deepcopy(schema["default"])
    if name in value:
        set_defaults(value[name], schema)


def drop_nulls(value: Any, schema: Schema) -> None:
    """Drop null fields that the schema knows and that may not be null: an absent field in another writing."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name in [name for name, one in value.items() if one is None and name in properties]:
            if not properties[name].get("nullable"):
                del value[name]
        for name, below in properties.items():
            if name in value:
                drop_nulls(value[name], below)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            drop_nulls(item, schema["items"])
