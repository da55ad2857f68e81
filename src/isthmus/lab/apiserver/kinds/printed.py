"""A custom kind's ``additionalPrinterColumns`` as columns. Pure.

The JSONPath of a column is the simple kind that CustomResourceDefinitions allow: fields, indexes, ``[*]``, filters with
``==`` on one field. Source: apiextensions.k8s.io/v1, CustomResourceColumnDefinition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from isthmus.lab.apiserver.kinds.columns import AGE, NAME, age
from isthmus.lab.apiserver.kinds.resource import Cell, Column
from isthmus.lab.apiserver.objects import encode_json

_STEP = re.compile(
    r"\.((?:[^.\[\\'\"]|\\.)+)"
    r"|\.?\[['\"]([^'\"]+)['\"]\]"
    r"|\[(\d+|\*)\]"
    r"|\[\?\(@\.([\w.-]+)\s*==\s*['\"]?([^'\"\)]*)['\"]?\)\]"
)


def parse_json_path(text: str) -> list[tuple[str, str, str]]:
    """The steps of a path: (``field``|``index``|``filter``, name or number, value).

    Raises ValueError when it is not of the supported kind.
    """
    steps, position = [], 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"can't read '{text[position:]}' in JSONPath '{text}'")
        steps.append(_step(match))
        position = match.end()
    return steps


def _step(match: re.Match[str]) -> tuple[str, str, str]:
    name, quoted, index, left, right = match.groups()
    if index is not None:
        return ("index", index, "")
    if left is not None:
        return ("filter", left, right)
    return ("field", quoted or name.replace("\\", ""), "")


def follow(steps: Sequence[tuple[str, str, str]], obj: Any) -> list[Any]:
    """Every value that the path leads to."""
    values = [obj]
    for kind, name, value in steps:
        values = [found for one in values for found in _advance(kind, name, value, one)]
    return values


def _advance(kind: str, name: str, value: str, current: Any) -> list[Any]:
    if kind == "field":
        found = current.get(name) if isinstance(current, Mapping) else None
        return [] if found is None else [found]
    if not isinstance(current, list):
        return []
    if kind == "filter":
        return [one for one in current if isinstance(one, Mapping) and str(one.get(name, "")) == value]
    if name == "*":
        return current
    return current[int(name) : int(name) + 1]


def _cell(steps: Sequence[tuple[str, str, str]], kind: str) -> Cell:
    def cell(obj: Mapping[str, Any], now: datetime) -> Any:
        values = follow(steps, obj)
        if not values:
            return None
        return _shown(values, kind, now)

    return cell


def _shown(values: list[Any], kind: str, now: datetime) -> Any:
    if kind == "date":
        return age(values[0], now) if isinstance(values[0], str) else "<unknown>"
    if kind == "string":
        return ",".join(_text(value) for value in values)
    return values[0] if isinstance(values[0], bool | int | float) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()


def custom_columns(definitions: Sequence[Mapping[str, Any]] | None) -> tuple[Column, ...]:
    """The columns of a custom kind: its name, then what its definition lists, or its age."""
    if not definitions:
        return (NAME, AGE)
    return (NAME, *(_column(one) for one in definitions))


def _column(definition: Mapping[str, Any]) -> Column:
    try:
        steps = parse_json_path(definition["jsonPath"])
    except ValueError:
        steps = [("field", "", "")]  # an unreadable path shows nothing, as with the real server
    kind = definition["type"]
    return Column(
        definition["name"],
        _cell(steps, kind),
        type=kind,
        format=definition.get("format", ""),
        description=definition.get("description", ""),
        priority=definition.get("priority", 0),
    )
