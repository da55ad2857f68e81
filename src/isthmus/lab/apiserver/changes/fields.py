"""Sets of fields: which leaves an object has, and their form in ``managedFields``. Pure.

A path is a tuple of FieldsV1 elements: ``f:name`` for a field, ``k:{…}`` for an item of a list that is a map, ``v:…``
for an item of a set. Source: Kubernetes documentation, "Server-Side Apply", "Merge strategy"; structured-merge-diff's
FieldsV1 format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.objects import Object, encode_json

Path = tuple[str, ...]
Leaves = dict[Path, Any]

ITEM = "."
"""In FieldsV1: the element itself, beside what is below it. As a leaf's value: an item of a list that is there."""

_UNMANAGED_META = frozenset(
    (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    )
)

LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "containers.ports": ("containerPort", "protocol"),
    "initContainers.ports": ("containerPort", "protocol"),
    "spec.ports": ("port", "protocol"),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "secrets": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists of the built-in kinds that are maps, by their own name or with their parent's."""

LIST_SETS = frozenset(("finalizers", "podCIDRs"))
ATOMIC_MAPS = frozenset(("spec.selector", "nodeSelector", "roleRef", "podSelector", "namespaceSelector", "fieldRef"))
KEY_DEFAULTS = {"protocol": "TCP"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a value merges: ``map``, ``list`` (a map by ``keys``), ``set``, or ``atomic``; and the schema below."""

    kind: str
    keys: tuple[str, ...] = ()


ATOMIC = Shape("atomic")
GRANULAR = Shape("map")


class Topology:
    """How the values of one kind merge."""

    def __init__(self, resource: Resource) -> None:
        self._schema = resource.schema if resource.custom else None

    def shape(self, path: Path, value: Any) -> Shape:
        if not isinstance(value, (dict, list)):  # most are, and of those nothing needs to be known
            return ATOMIC
        names = [part[2:] for part in path if part.startswith("f:")]
        schema = self._schema_at(path)
        if schema is not None and names[:1] != ["metadata"]:
            return _by_schema(schema, value)
        return _by_name(names, value)

    def _schema_at(self, path: Path) -> Schema | None:
        schema = self._schema
        for part in path:
            if schema is None:
                return None
            schema = _below(schema, part)
        return schema


def _below(schema: Schema, part: str) -> Schema:
    if part.startswith("f:"):
        found = (schema.get("properties") or {}).get(part[2:])
        additional = schema.get("additionalProperties")
        return found or (additional if isinstance(additional, Mapping) else {})
    items = schema.get("items")
    return items if isinstance(items, Mapping) else {}


def _by_schema(schema: Schema, value: Any) -> Shape:
    if isinstance(value, dict):
        return ATOMIC if schema.get("x-kubernetes-map-type") == "atomic" else GRANULAR
    if not isinstance(value, list):
        return ATOMIC
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return Shape("list", tuple(schema.get("x-kubernetes-list-map-keys") or ()))
        case "set":
            return Shape("set")
    return ATOMIC


def _by_name(names: list[str], value: Any) -> Shape:
    last, pair = names[-1] if names else "", ".".join(names[-2:])
    if isinstance(value, dict):
        return ATOMIC if pair in ATOMIC_MAPS or last in ATOMIC_MAPS else GRANULAR
    if not isinstance(value, list):
        return ATOMIC
    keys = LIST_KEYS.get(pair) or LIST_KEYS.get(last)
    if keys and all(isinstance(one, dict) for one in value):
        return Shape("list", keys)
    return Shape("set") if last in LIST_SETS else ATOMIC


def item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The path element of an item of a list that is a map."""
    named = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in sorted(keys)}
    return "k:" + encode_json({key: value for key, value in named.items() if value is not None}).decode()


def set_key(item: Any) -> str:
    return "v:" + encode_json(item).decode()


def leaves(obj: Object, topology: Topology) -> Leaves:
    """Every managed leaf of an object with its value."""
    found: Leaves = {}
    for name, value in obj.items():
        if name == "metadata":
            kept = {key: one for key, one in value.items() if key not in _UNMANAGED_META}
            for key, one in kept.items():
                _collect(one, ("f:metadata", f"f:{key}"), topology, found)
        elif name not in ("apiVersion", "kind"):
            _collect(value, (f"f:{name}",), topology, found)
    return found


def _collect(value: Any, path: Path, topology: Topology, found: Leaves) -> None:
    shape = topology.shape(path, value)
    if shape.kind == "atomic" or not value:
        found[path] = value
        return
    for element, one in elements(value, shape):
        if shape.kind == "set":
            found[*path, element] = ITEM
            continue
        if shape.kind == "list":
            found[*path, element] = ITEM
        _collect(one, (*path, element), topology, found)


def elements(value: Any, shape: Shape) -> Iterator[tuple[str, Any]]:
    """The elements of a map or list with their path elements."""
    if shape.kind == "map":
        for name, one in value.items():
            yield f"f:{name}", one
    elif shape.kind == "list":
        for one in value:
            yield item_key(one, shape.keys), one
    else:
        for one in value:
            yield set_key(one), one


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """A set of paths as FieldsV1."""
    root: dict[str, Any] = {}
    ends = []
    for path in sorted(paths):
        node = root
        for part in path:
            node = node.setdefault(part, {})
        ends.append(node)
    for node in ends:
        if node:
            node[ITEM] = {}
    return root


def from_fields_v1(fields: Any) -> set[Path]:
    """The paths of a FieldsV1; what is malformed in it is dropped."""
    return set(_read(fields, ()))


def _read(node: Any, path: Path) -> Iterator[Path]:
    if not isinstance(node, Mapping):
        return
    if path and not node:
        yield path
    for part, below in node.items():
        if part == ITEM:
            yield path
        else:
            yield from _read(below, (*path, _canonical(part)))


def _canonical(part: str) -> str:
    """Key elements in this server's writing, so that those of other writers compare equal."""
    if not part.startswith("k:"):
        return part
    try:
        return "k:" + encode_json(dict(sorted(msgspec.json.decode(part[2:], type=dict[str, Any]).items()))).decode()
    except msgspec.MsgspecError:
        return part


def path_text(path: Path) -> str:
    """A path as messages show it: ``.spec.containers[name="a"].image``."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            keys = msgspec.json.decode(part[2:], type=dict[str, Any])
            text += "[" + ",".join(f"{name}={encode_json(value).decode()}" for name, value in keys.items()) + "]"
        else:
            text += f"[={part[2:]}]"
    return text
