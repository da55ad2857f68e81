"""JSON patch. Pure. Source: RFC 6902 (operations), RFC 6901 (pointers)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from isthmus.lab.apiserver.errors import StatusError, bad_request

OPERATIONS_LIMIT = 10_000
COPY_LIMIT = 3 * 1024 * 1024
"""Bytes that a patch may copy in all: as many as a body may have."""


class PatchRefusedError(ValueError):
    """An operation can't be carried out on this object."""


def apply_json_patch(target: Any, patch: Any) -> Any:
    """The target after every operation of the patch.

    Raises StatusError: 400 for what is no patch, 422 when an operation can't be carried out.
    """
    if not isinstance(patch, list) or not all(isinstance(one, dict) for one in patch):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(patch) > OPERATIONS_LIMIT:
        raise StatusError(413, "RequestEntityTooLarge", f"a JSON patch has at most {OPERATIONS_LIMIT} operations")
    result, left = copy.deepcopy(target), COPY_LIMIT
    for operation in patch:
        try:
            left -= _copied(result, operation)
            if left < 0:
                raise StatusError(413, "RequestEntityTooLarge", f"a JSON patch copies at most {COPY_LIMIT} bytes")
            result = _apply(result, operation)
        except (PatchRefusedError, KeyError, RecursionError) as error:
            raise StatusError(
                422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
            ) from error
    return result


def _copied(document: Any, operation: dict[str, Any]) -> int:
    """How many bytes an operation copies: a few copies of copies would fill any memory."""
    if operation.get("op") != "copy":
        return 0
    try:
        return len(msgspec.json.encode(_find(document, str(operation["from"]))))
    except RecursionError as error:
        raise PatchRefusedError("what it copies is nested too deep") from error


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    carry_out = _OPERATIONS.get(str(operation.get("op")))
    if carry_out is None:
        raise PatchRefusedError(f"Unexpected kind: {operation.get('op')}")
    if not isinstance(operation.get("path"), str):
        raise PatchRefusedError("an operation needs a path")
    return carry_out(document, operation)


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise PatchRefusedError(f"a path begins with '/': {text}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _step(parent: Any, part: str, path: str) -> Any:
    if isinstance(parent, dict) and part in parent:
        return parent[part]
    if isinstance(parent, list):
        return parent[_index(parent, part, path, end=False)]
    raise PatchRefusedError(f"unable to find path: {path}")


def _index(parent: list[Any], part: str, path: str, *, end: bool) -> int:
    if part == "-" and end:
        return len(parent)
    if not part.isascii() or not part.isdigit() or len(part) > 9 or (part != "0" and part.startswith("0")):
        raise PatchRefusedError(f"'{part}' is no index into the list at {path}")
    index = int(part)
    if index > len(parent) or (index == len(parent) and not end):
        raise PatchRefusedError(f"index {index} is out of bounds at {path}")
    return index


def _find(document: Any, path: str) -> Any:
    for part in _pointer(path):
        document = _step(document, part, path)
    return document


def _parent(document: Any, path: str) -> tuple[Any, str]:
    *above, last = _pointer(path)
    for part in above:
        document = _step(document, part, path)
    return document, last


def _add_value(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, last = _parent(document, path)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, last, path, end=True), value)
    else:
        raise PatchRefusedError(f"unable to find path: {path}")
    return document


def _take(document: Any, path: str) -> Any:
    parent, last = _parent(document, path) if path else (None, "")
    if isinstance(parent, dict) and last in parent:
        return parent.pop(last)
    if isinstance(parent, list):
        return parent.pop(_index(parent, last, path, end=False))
    raise PatchRefusedError(f"Unable to remove nonexistent key: {last}")


def _given(operation: dict[str, Any]) -> Any:
    """The operation's value, to be changed by later ones: the patch may be carried out again, on a later object."""
    return copy.deepcopy(operation.get("value"))


def _add(document: Any, operation: dict[str, Any]) -> Any:
    return _add_value(document, operation["path"], _given(operation))


def _remove(document: Any, operation: dict[str, Any]) -> Any:
    _take(document, operation["path"])
    return document


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    path = operation["path"]
    if path == "":
        return _given(operation)
    parent, last = _parent(document, path)
    _step(parent, last, path)
    if isinstance(parent, list):
        parent[int(last)] = _given(operation)
    else:
        parent[last] = _given(operation)
    return document


def _move(document: Any, operation: dict[str, Any]) -> Any:
    return _add_value(document, operation["path"], _take(document, str(operation["from"])))


def _copy(document: Any, operation: dict[str, Any]) -> Any:
    return _add_value(document, operation["path"], copy.deepcopy(_find(document, str(operation["from"]))))


def _test(document: Any, operation: dict[str, Any]) -> Any:
    if _find(document, operation["path"]) != operation.get("value"):
        raise PatchRefusedError(f"testing value {operation['path']} failed")
    return document


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
