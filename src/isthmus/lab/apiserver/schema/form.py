"""The form of a kind's schema: which type each of its parts has. Pure.

What has it may be read without further questions; whether it is sound is for the admission of definitions to say.
Source: Kubernetes API reference, JSONSchemaProps of apiextensions.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any

from isthmus.lab.apiserver.errors import FieldError
from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.schema.validate import validate


def form_errors(schema: Any, path: str) -> list[FieldError]:
    """Each part of a schema, and of those in it, that is of another type than it has to be."""
    return validate(schema, _SCHEMA, path)


def _all(kind: str, names: str) -> dict[str, Schema]:
    """Parts of one type; null is another writing of an absent one."""
    return {name: {"type": kind, "nullable": True} for name in names.split()}


def _list(of: Schema) -> Schema:
    return {"type": "array", "nullable": True, "items": of}


_TEXTS = _list({"type": "string"})
_RULE: Schema = {
    "type": "object",
    "properties": {
        **_all("string", "rule message messageExpression fieldPath reason"),
        **_all("boolean", "optionalOldSelf"),
    },
}
_PARTS: dict[str, Schema] = {
    **_all("string", "type format pattern title description x-kubernetes-list-type x-kubernetes-map-type"),
    **_all("integer", "maxLength minLength maxItems minItems maxProperties minProperties"),
    **_all("number", "maximum minimum multipleOf"),
    **_all("boolean", "exclusiveMaximum exclusiveMinimum uniqueItems nullable x-kubernetes-embedded-resource"),
    **_all("boolean", "x-kubernetes-int-or-string x-kubernetes-preserve-unknown-fields"),
    "enum": {"type": "array"},
    "required": _TEXTS,
    "x-kubernetes-list-map-keys": _TEXTS,
    "x-kubernetes-validations": _list(_RULE),
}
_SCHEMA: Schema = {"type": "object", "properties": _PARTS}
_OR_NONE: Schema = {**_SCHEMA, "nullable": True}
_PARTS |= {
    "properties": {"type": "object", "nullable": True, "additionalProperties": _SCHEMA},
    "additionalProperties": {"anyOf": [_OR_NONE, {"type": "boolean"}]},
    "items": _OR_NONE,
    "not": _OR_NONE,
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), _list(_SCHEMA)),
}
