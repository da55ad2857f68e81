"""Checking a value by a structural schema, with messages that name the field's path. Pure.

Source: OpenAPI v3 schema object as far as apiextensions.k8s.io/v1 allows it; wording as clients see it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from isthmus.lab.apiserver.base64_text import is_base64
from isthmus.lab.apiserver.errors import (
    FieldError,
    duplicate,
    invalid_value,
    required,
    too_long,
    too_many,
    unsupported,
    wrong_type,
)
from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.schema.patterns import found

ERRORS_LIMIT = 50


def validate(value: Any, schema: Schema, path: str = "") -> list[FieldError]:
    """Everything wrong with a value, up to a limit."""
    errors: list[FieldError] = []
    for error in _check(value, schema, path):
        errors.append(error)
        if len(errors) >= ERRORS_LIMIT:
            break
    return errors


def _check(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if value is None and schema.get("nullable"):
        return
    mismatch = _type_error(value, schema, path)
    if mismatch is not None:
        yield mismatch
        return
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, schema["enum"])
    if isinstance(value, dict):
        yield from _check_object(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif isinstance(value, str):
        yield from _check_string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    yield from _check_combined(value, schema, path)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def json_type(value: Any) -> str:
    """The name of a value's JSON type."""
    if value is None:
        return "null"
    return next(name for name in ("object", "array", "string", "boolean", "integer", "number") if _TYPES[name](value))


def _type_error(value: Any, schema: Schema, path: str) -> FieldError | None:
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, str) or _TYPES["integer"](value):
            return None
        return wrong_type(path, expected="integer,string", actual=json_type(value))
    expected = schema.get("type")
    if not expected or _TYPES[expected](value):
        return None
    return wrong_type(path, expected=expected, actual=json_type(value))


def _check_object(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[FieldError]:
    missing = [name for name in schema.get("required") or () if name not in value]
    yield from (required(_below(path, name)) for name in missing)
    if schema.get("x-kubernetes-embedded-resource"):
        empty = [name for name in ("apiVersion", "kind") if not value.get(name) and name not in missing]
        yield from (required(_below(path, name), "must not be empty") for name in empty)
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, one in value.items():
        if name in properties:
            yield from _check(one, properties[name], _below(path, name))
        elif isinstance(additional, Mapping):
            yield from _check(one, additional, _below(path, name))
    yield from _check_count(len(value), schema, path, what="properties")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_count(size: int, schema: Schema, path: str, *, what: str) -> Iterator[FieldError]:
    most, least = (schema.get(f"{bound}{what.capitalize()}") for bound in ("max", "min"))
    if most is not None and size > most:
        yield too_many(path, actual=size, limit=most)
    if least is not None and size < least:
        yield invalid_value(path, size, f"{path} in body should have at least {least} {what}")


def _check_list(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    yield from _check_count(len(value), schema, path, what="items")
    items = schema.get("items")
    if isinstance(items, Mapping):
        for index, item in enumerate(value):
            yield from _check(item, items, f"{path}[{index}]")
    yield from _check_unique(value, schema, path)


def _check_unique(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    kind = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if kind not in ("map", "set"):
        return
    seen: set[bytes] = set()
    for index, item in enumerate(value):
        identity = (
            {key: item.get(key) for key in keys if key in item} if kind == "map" and isinstance(item, dict) else item
        )
        marker = encode_json(identity)
        if marker in seen:
            yield duplicate(f"{path}[{index}]", identity)
        seen.add(marker)


def _check_string(value: str, schema: Schema, path: str) -> Iterator[FieldError]:
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        yield too_long(path, most)
    if least is not None and len(value) < least:
        yield invalid_value(path, value, f"{path} in body should be at least {least} chars long")
    pattern = schema.get("pattern")
    if pattern and not _fits(pattern, value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    known = _FORMATS.get(schema.get("format", ""))
    if known and not known(value):
        yield invalid_value(path, value, f'{path} in body must be of type {schema["format"]}: "{value}"')


def _fits(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text; one that can't be compiled, which a new definition can't have, is not."""
    try:
        return any(True for _ in found(pattern, text))
    except ValueError:
        return False


def _check_number(value: float, schema: Schema, path: str) -> Iterator[FieldError]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        rule = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {rule} {least}")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        rule = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {rule} {most}")
    if schema.get("multipleOf") and value % schema["multipleOf"]:
        yield invalid_value(path, value, f"{path} in body should be a multiple of {schema['multipleOf']}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield invalid_value(path, value, f"{path} in body must be of type {schema['format']}")


def _check_combined(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    for one in schema.get("allOf") or ():
        yield from _check(value, one, path)
    if schema.get("anyOf") and not any(_valid(value, one) for one in schema["anyOf"]):
        yield invalid_value(path, value, f"{path} in body must validate at least one schema (anyOf)")
    if schema.get("oneOf") and sum(_valid(value, one) for one in schema["oneOf"]) != 1:
        yield invalid_value(path, value, f"{path} in body must validate one and only one schema (oneOf)")
    if schema.get("not") and _valid(value, schema["not"]):
        yield invalid_value(path, value, f"{path} in body must not validate the schema (not)")


def _valid(value: Any, schema: Schema) -> bool:
    return next(_check(value, schema, ""), None) is None


def _is_date_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return re.match(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d", text) is not None


def _is_date(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007  # only whether it is a date
    except ValueError:
        return False
    return True


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "date": _is_date,
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "uuid": lambda text: re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", text) is not None,
    "byte": is_base64,
    "hostname": lambda text: (
        re.fullmatch(
            r"(?=.{1,253}$)[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*", text
        )
        is not None
    ),
    "uri": lambda text: re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) is not None or text.startswith("/"),
}
