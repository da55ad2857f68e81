"""Whether a resource is what its CustomResourceDefinition says: fields, types, limits. Pure.

The same schemas that the API server checks by, but every finding has its line, and a field that the API server would
drop without a word is an error.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from isthmus.doctor.lint.findings import Finding, Severity, meant
from isthmus.doctor.lint.nodes import Node

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
}
_ENVELOPE = frozenset(("apiVersion", "kind", "metadata", "status"))
_SHOWN = 80


def check(node: Node, schema: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong with a resource by the schema of its kind; its metadata and status are not looked at."""
    if not isinstance(node.value, dict):
        return
    inner = {name: each for name, each in schema["properties"].items() if name not in _ENVELOPE}
    own = {name: each for name, each in node.value.items() if name not in _ENVELOPE}
    wanted = {**schema, "properties": inner, "required": ["spec"] if "spec" in schema.get("required", ()) else []}
    yield from _check(Node(own, node.place, node.keys, node.repeated), wanted, "")


def _check(node: Node, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    if node.value is None:  # as if it were not there; what must be there is told by what it is in
        return
    if "x-kubernetes-int-or-string" in schema:
        if not isinstance(node.value, int | str) or isinstance(node.value, bool):
            yield _wrong_type(node, path, "a number or a text")
        return
    kind = schema.get("type", "object")
    is_truth = isinstance(node.value, bool) and kind != "boolean"
    if not isinstance(node.value, _TYPES[kind]) or is_truth:
        yield _wrong_type(node, path, {"object": "a mapping", "array": "a list"}.get(kind, f"a {kind}"))
        return
    yield from _BY_TYPE[kind](node, schema, path)


def _object(node: Node, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    for name, place in node.repeated.items():
        message = f"{_join(path, name)} is there twice"
        yield Finding(place, Severity.ERROR, "RepeatedField", message, "keep one of them; only the last would count")
    for name in schema.get("required", ()):
        found = node.value.get(name)
        if found is None or found.value is None:
            yield Finding(node.place, Severity.ERROR, "MissingField", f"{_join(path, name)} is missing", "add it")
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, value in node.value.items():
        if name in known or others is not None:
            yield from _check(value, known.get(name, others), _join(path, name))
        else:
            yield from _unknown(node, name, schema, path)


def _unknown(node: Node, name: str, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    """A field that is not in the schema: dropped, or, where others may have fields of theirs, perhaps mistyped."""
    hint = meant(name, schema.get("properties", {}))
    keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
    message = f"unknown field {_join(path, name)[:_SHOWN]}{hint}"
    if keeps and hint:
        yield Finding(node.keys[name], Severity.WARNING, "UnknownField", message, "correct it if it is mistyped")
    elif not keeps:
        fix = "correct or remove it: the API server drops it"
        yield Finding(node.keys[name], Severity.ERROR, "UnknownField", message, fix)


def _array(node: Node, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    if len(node.value) < schema.get("minItems", 0):
        yield _invalid(node, path, f"expected {schema['minItems']} items at least")
    if len(node.value) > schema.get("maxItems", len(node.value)):
        yield _invalid(node, path, f"expected {schema['maxItems']} items at most")
    for index, item in enumerate(node.value):
        yield from _check(item, schema["items"], f"{path}[{index}]")


def _string(node: Node, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    text = node.value
    if "enum" in schema and text not in schema["enum"]:
        listed = ", ".join(schema["enum"])
        yield _invalid(node, path, f"{_shown(text)} is none of {listed}{meant(text, schema['enum'])}")
    elif len(text) < schema.get("minLength", 0):
        yield _invalid(node, path, "is empty" if not text else f"shorter than {schema['minLength']} characters")
    elif len(text) > schema.get("maxLength", len(text)):
        yield _invalid(node, path, f"longer than {schema['maxLength']} characters")
    elif "pattern" in schema and not _matches(schema["pattern"], text):
        yield _invalid(node, path, f"{_shown(text)} is not of the form {schema['pattern']}")


def _matches(pattern: str, text: str) -> bool:
    """As the API server has it, to which ``$`` is the end of the text; to Python also the line end before it."""
    ends = pattern.endswith("$") and not pattern.endswith(r"\$")
    return re.search(pattern[:-1] + r"\Z" if ends else pattern, text) is not None


def _integer(node: Node, schema: dict[str, Any], path: str) -> Iterator[Finding]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is not None and node.value < low) or (high is not None and node.value > high):
        yield _invalid(node, path, f"{str(node.value)[:_SHOWN]}: expected {low} to {high}")


def _boolean(_node: Node, _schema: dict[str, Any], _path: str) -> Iterator[Finding]:
    yield from ()


_BY_TYPE: dict[str, Callable[[Node, dict[str, Any], str], Iterator[Finding]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
}


def _wrong_type(node: Node, path: str, expected: str) -> Finding:
    found = {dict: "a mapping", list: "a list", bool: "a truth value", str: "a text"}.get(type(node.value), "a number")
    fix = "put it in quotes" if expected == "a string" and not isinstance(node.value, dict | list) else "correct it"
    return Finding(node.place, Severity.ERROR, "WrongType", f"{path} is {found}: expected {expected}", fix)


def _invalid(node: Node, path: str, why: str) -> Finding:
    return Finding(node.place, Severity.ERROR, "InvalidValue", f"{path}: {why}", "correct it")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
