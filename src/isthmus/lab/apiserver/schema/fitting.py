"""A quick yes: whether a value is just as its schema wants it, with nothing to prune, to default or to complain of.

Made once a schema, of small functions. It may say no to what is right (then the slow ways decide, and word the errors),
but it never says yes to anything that they would change or refuse. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.schema.validate import json_type, validate

Fits = Callable[[Any], bool]

_REMEMBERED = 256
_SILENT = frozenset(
    (
        *("description", "title", "example", "x-model", "x-kubernetes-validations", "x-kubernetes-map-type"),
        *("x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"),
    )
)
_OBJECT = frozenset(("type", "properties", "required", "additionalProperties", "default"))
_LIST = frozenset(
    (
        *("type", "items", "minItems", "maxItems", "nullable", "default"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    )
)
_OF_THE_API = frozenset(("apiVersion", "kind", "metadata"))
_known: dict[tuple[int, bool], tuple[Schema, Fits]] = {}


def fits(value: Any, schema: Schema) -> bool:
    """Whether the value is certainly just as the schema wants it."""
    return _remembered(schema, of_a_kind=False)(value)


def object_fits(obj: Mapping[str, Any], schema: Schema) -> bool:
    """Whether an object of a custom kind is, but for what every object has: its kind and its metadata."""
    return _remembered(schema, of_a_kind=True)({name: one for name, one in obj.items() if name not in _OF_THE_API})


def _remembered(schema: Schema, *, of_a_kind: bool) -> Fits:
    found = _known.get((id(schema), of_a_kind))
    if found is None:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        # The schema is kept, so that no other can come to have its id.
        found = (schema, _of_a_kind(schema) if of_a_kind else _made(schema))
        _known[id(schema), of_a_kind] = found
    return found[1]


def _of_a_kind(schema: Schema) -> Fits:
    properties = schema.get("properties") or {}
    if any(properties.get(name, {}).keys() - {"type", "description"} for name in _OF_THE_API):
        return _never
    own = {name: below for name, below in properties.items() if name not in _OF_THE_API}
    required = [name for name in schema.get("required") or () if name not in _OF_THE_API]
    return _made({**schema, "properties": own, "required": required})


def _made(schema: Schema) -> Fits:
    if schema == {"x-kubernetes-preserve-unknown-fields": True}:
        return _has_no_null
    if schema == {"x-kubernetes-int-or-string": True}:
        return lambda value: isinstance(value, int | str) and not isinstance(value, bool)
    match schema.get("type"):
        case "object" if schema.keys() <= _OBJECT | _SILENT:
            return _object(schema)
        case "array" if schema.keys() <= _LIST | _SILENT:
            return _list(schema)
        case "string" | "integer" | "number" | "boolean":
            return _plain(schema)
    return _never


def _never(_: Any) -> bool:
    return False


def _has_no_null(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_has_no_null, value.values()))
    return all(map(_has_no_null, value)) if isinstance(value, list) else value is not None


def _plain(schema: Schema) -> Fits:
    """Text, a number or a truth value; without further rules its type is all there is to it."""
    kind = str(schema["type"])
    if schema.keys() <= _SILENT | {"type", "default", "nullable"}:
        return _OF_TYPE[kind]
    return lambda value: value is not None and json_type(value) == kind and not validate(value, schema)


_OF_TYPE: dict[str, Fits] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def _object(schema: Schema) -> Fits:
    known = {name: _made(below) for name, below in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    other = _made(additional) if isinstance(additional, Mapping) else _never
    defaulted = {name for name, below in (schema.get("properties") or {}).items() if "default" in below}
    needed = frozenset(schema.get("required") or ()) | defaulted

    def fit(value: Any) -> bool:
        if not isinstance(value, dict) or not (not needed or needed <= value.keys()):
            return False
        for name, one in value.items():  # noqa: SIM110 - with all() and a generator it takes nearly twice as long
            if not known.get(name, other)(one):
                return False
        return True

    return fit


def _list(schema: Schema) -> Fits:
    items = schema.get("items")
    item = _made(items) if isinstance(items, Mapping) else _never
    least, most = schema.get("minItems", 0), schema.get("maxItems", float("inf"))
    kind = schema.get("x-kubernetes-list-type")
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if kind not in (None, "atomic", "map"):
        return _never

    def fit(value: Any) -> bool:
        if not isinstance(value, list) or not least <= len(value) <= most or not all(map(item, value)):
            return False
        return kind != "map" or _unique(value, keys)

    return fit


def _unique(items: list[Any], keys: tuple[str, ...]) -> bool:
    """Whether no two items have the same keys; of an item without one of them nothing is said."""
    try:
        return len({tuple(item[key] for key in keys) for item in items}) == len(items)
    except (KeyError, TypeError):
        return False
