"""A type of ours as a structural OpenAPI v3 schema.

Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", sections "Specifying a structural
schema" and "Validation". The types are the only place where fields, limits and descriptions are written down.
"""

from collections.abc import Callable
from typing import Any

from msgspec import inspect

Schema = dict[str, Any]
"""A JSON schema; its values are whatever JSON has."""


def schema_of(type_: object, *, keep_unknown: bool = False) -> Schema:
    """Make the structural schema of a type.

    ``keep_unknown``: fields that the type does not have are to be kept by the API server, at every depth.
    Raises TypeError for a type that no structural schema can express.
    """
    return _render(inspect.type_info(type_), keep_unknown=keep_unknown)


def _render(node: inspect.Type, *, keep_unknown: bool) -> Schema:
    render = _RENDERERS.get(type(node))
    if render is None:
        raise TypeError(f"cannot make a structural schema of {node!r}: expected one of the types that JSON has")
    return render(node, keep_unknown)


def _metadata(node: inspect.Metadata, keep_unknown: bool) -> Schema:
    extra = node.extra_json_schema or {}
    if "x-kubernetes-int-or-string" in extra:
        return {**extra, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    inner = _render(node.type, keep_unknown=keep_unknown)
    return {**inner, **extra}


def _union(node: inspect.UnionType, keep_unknown: bool) -> Schema:
    """An optional value is the value; an optional list may be null, as it is in what Go programs write."""
    kinds = [each for each in node.types if not isinstance(each, inspect.NoneType)]
    if len(kinds) != 1:
        raise TypeError(f"cannot make a structural schema of a union of {kinds!r}: expected one type, or None")
    inner = _render(kinds[0], keep_unknown=keep_unknown)
    return {**inner, "nullable": True} if inner.get("type") == "array" else inner


def _struct(node: inspect.StructType, keep_unknown: bool) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": " ".join((node.cls.__doc__ or "").split()),
        "properties": {field.encode_name: _render(field.type, keep_unknown=keep_unknown) for field in node.fields},
    }
    if required := [field.encode_name for field in node.fields if field.required]:
        schema["required"] = required
    if keep_unknown:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _string(node: inspect.StrType, _: bool) -> Schema:
    limits = {"minLength": node.min_length, "maxLength": node.max_length, "pattern": node.pattern}
    return {"type": "string", **_present(limits)}


def _integer(node: inspect.IntType, _: bool) -> Schema:
    return {"type": "integer", **_present({"minimum": node.ge, "maximum": node.le})}


def _array(node: inspect.VarTupleType, keep_unknown: bool) -> Schema:
    items = _render(node.item_type, keep_unknown=keep_unknown)
    return {"type": "array", "items": items, **_present({"minItems": node.min_length, "maxItems": node.max_length})}


def _map(node: inspect.DictType, keep_unknown: bool) -> Schema:
    return {"type": "object", "additionalProperties": _render(node.value_type, keep_unknown=keep_unknown)}


def _present(limits: dict[str, Any]) -> Schema:
    return {name: limit for name, limit in limits.items() if limit is not None}


_RENDERERS: dict[type[inspect.Type], Callable[[Any, bool], Schema]] = {
    inspect.Metadata: _metadata,
    inspect.UnionType: _union,
    inspect.StructType: _struct,
    inspect.StrType: _string,
    inspect.IntType: _integer,
    inspect.BoolType: lambda _, __: {"type": "boolean"},
    inspect.DateTimeType: lambda _, __: {"type": "string", "format": "date-time"},
    inspect.LiteralType: lambda node, _: {"type": "string", "enum": list(node.values)},
    inspect.VarTupleType: _array,
    inspect.DictType: _map,
}
"""How each kind of type is rendered. A renderer takes the type and whether unknown fields are kept."""
