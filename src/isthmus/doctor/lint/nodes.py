"""YAML as values that know where they stand, read within bounds. Pure.

Whoever gives us files may be mistaken or mean: size, depth and the number of nodes, with every alias counted as what it
stands for, have limits. Source: YAML 1.1, which ``kubectl`` reads; section 10.1 of YAML 1.2 for what a scalar is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from isthmus.doctor.lint.findings import Place

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 200_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one on libyaml is thirty times faster, and not there on every machine."""
_TAG = "tag:yaml.org,2002:"


class UnreadableError(Exception):
    """Text that is no YAML, or is beyond the limits; ``place`` is where."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. A mapping's values and a list's items are nodes; ``keys`` are the places of keys."""

    value: Any
    place: Place
    keys: Mapping[str, Place] = field(default_factory=dict)
    repeated: Mapping[str, Place] = field(default_factory=dict)
    """Keys that a mapping has more than once, with the place of the last."""

    def at(self, *path: str | int) -> "Node | None":
        """The node at a path of keys and indexes; None if there is none."""
        found: Node | None = self
        for part in path:
            found = found.child(part) if found is not None else None
        return found

    def child(self, part: str | int) -> "Node | None":
        """The entry of a mapping by its key, or the item of a list by its index; None if there is none."""
        match self.value, part:
            case dict(), _:
                inner: Node | None = self.value.get(part)
                return inner
            case list(), int() if 0 <= part < len(self.value):
                item: Node = self.value[part]
                return item
        return None

    def where(self, *path: str | int) -> Place:
        """The place of what is at a path, or of the innermost thing around it that is there."""
        for length in range(len(path), 0, -1):
            if (found := self.at(*path[:length])) is not None:
                return found.place
        return self.place

    def text(self, *path: str | int) -> str:
        """The text at a path; empty if there is none."""
        found = self.at(*path)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def plain(self) -> Any:
        """The value as JSON has it."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class Reader:
    """Reads the texts of one run; all of them together have no more than ``MAX_NODES`` values."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def parse(self, file: str, text: bytes) -> list[Node]:
        """The documents of a YAML text.

        Raises UnreadableError: no YAML, too large, too deep, or too many values once aliases are followed.
        """
        if len(text) > MAX_BYTES:
            raise UnreadableError(Place(file), f"{len(text)} bytes or more: expected {MAX_BYTES} at most")
        try:
            _check_bounds(file, text, self._left)
            builder = _Builder(file, self._left)
            documents = [builder.build(node, 0) for node in yaml.compose_all(text, Loader=_Loader)]
        except yaml.YAMLError as error:
            raise UnreadableError(_place_of(file, error), f"no YAML: {_said(error)}") from error
        except ValueError as error:  # a byte or a character that YAML does not have
            raise UnreadableError(Place(file), f"no YAML: {str(error)[:200]}") from error
        self._left -= builder.count
        return documents


def _check_bounds(file: str, text: bytes, most: int) -> None:
    """Refuse what is nested too deep, or has too much in it, before anything is built of it.

    A composer calls itself for each level, in C, where that ends in a crash; and it builds all of a document at once.
    """
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > 2 * most:  # a key and a value
                raise _too_many(_place(file, event.start_mark))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UnreadableError(_place(file, event.start_mark), f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_many(place: Place) -> UnreadableError:
    return UnreadableError(place, f"more than {MAX_NODES} values in all, with aliases counted as what they stand for")


class _Builder:
    """Makes nodes of PyYAML's, and counts them."""

    def __init__(self, file: str, most: int) -> None:
        self._file = file
        self._most = most
        self.count = 0
        self._scalars = SafeConstructor()

    def build(self, node: yaml.Node, depth: int) -> Node:
        place = _place(self._file, node.start_mark)
        self.count += 1
        if self.count > self._most:
            raise _too_many(place)
        if depth > MAX_DEPTH:  # an alias of something that it is in
            raise UnreadableError(place, f"nested deeper than {MAX_DEPTH} levels by aliases")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, place, depth)
            case yaml.SequenceNode():
                return Node([self.build(item, depth + 1) for item in node.value], place)
            case yaml.ScalarNode():
                return Node(self._scalar(node), place)
        raise UnreadableError(place, f"{type(node).__name__}: expected a mapping, a list or a scalar")

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> Node:
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        repeated: dict[str, Place] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                merged |= self._merged(value, depth)
                continue
            name, at = str(key.value) if isinstance(key, yaml.ScalarNode) else "?", _place(self._file, key.start_mark)
            if name in own:
                repeated[name] = at
            own[name], keys[name] = self.build(value, depth + 1), at
        return Node({**merged, **own}, place, {**{name: each.place for name, each in merged.items()}, **keys}, repeated)

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Node]:
        """What ``<<`` brings in: of one mapping, or of several, of which the first wins."""
        built = self.build(node, depth + 1)
        parts = built.value if isinstance(built.value, list) else [built]
        found: dict[str, Node] = {}
        for part in reversed(parts):
            found |= part.value if isinstance(part.value, dict) else {}
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        """A scalar as JSON has it: text, unless it is a number, a truth value or nothing."""
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return self._scalars.construct_yaml_bool(node)
                case "int" if ":" not in node.value:  # 1:30 is a number to YAML 1.1, and a text to kubectl
                    return _number(self._scalars.construct_yaml_int(node))
                case "float" if ":" not in node.value:
                    return self._scalars.construct_yaml_float(node)
        except (ValueError, KeyError, OverflowError):
            pass
        return str(node.value)


def _number(read: int) -> int | float:
    """A whole number as JSON readers take it: what does not fit into 64 bits is one with a fraction. OverflowError."""
    return read if read.bit_length() <= 64 else float(read)


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _place_of(file: str, error: yaml.YAMLError) -> Place:
    mark = getattr(error, "problem_mark", None)
    return Place(file) if mark is None else _place(file, mark)


def _said(error: yaml.YAMLError) -> str:
    """What the parser says, in a line and without its excerpt."""
    said = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
    return (said or str(error)).replace("\n", " ")[:200]


def items(node: Node | None) -> Iterator[Node]:
    """The items of a list; nothing for anything else."""
    if node is not None and isinstance(node.value, list):
        yield from node.value


def entries(node: Node | None) -> Iterator[tuple[str, Node]]:
    """The entries of a mapping; nothing for anything else."""
    if node is not None and isinstance(node.value, dict):
        yield from node.value.items()
