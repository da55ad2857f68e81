"""Server-side apply: what a manager wants of an object, merged into what there is. Pure.

Source: Kubernetes documentation, "Server-Side Apply": an applier owns what it applies; what it no longer applies and
nobody else owns is removed; a value that another manager owns and that differs is a conflict unless forced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus.lab.apiserver.changes.fields import (
    Leaves,
    Path,
    Shape,
    Topology,
    elements,
    item_key,
    leaves,
    path_text,
    set_key,
)
from isthmus.lab.apiserver.changes.managed import Entry, Manager, read_entries, write_entries
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object, copied, metadata


@dataclass(frozen=True, slots=True)
class Application:
    """One apply: the wanted object, who applies, whether conflicts are overridden, and when."""

    wanted: Object
    manager: Manager
    force: bool
    now: str


def apply(live: Object, application: Application, resource: Resource) -> Object:
    """The live object with an application merged in and its ownership noted.

    Raises StatusError (409) naming every conflict.
    """
    topology = Topology(resource)
    wanted = leaves(application.wanted, topology)
    present = leaves(live, topology)
    entries = read_entries(metadata(live).get("managedFields"))
    differing = frozenset(path for path, value in wanted.items() if path in present and present[path] != value)
    others = [entry for entry in entries if entry.manager != application.manager]
    conflicts = {entry.manager: sorted(entry.fields & differing) for entry in others if entry.fields & differing}
    if conflicts and not application.force and not _handed_over(conflicts, application, live, present, topology):
        raise conflict_error(conflicts)
    merged = _merged(live, application.wanted, topology)
    mine = next((entry for entry in entries if entry.manager == application.manager), None)
    for path in _abandoned(mine, others, wanted):
        _remove(merged, path, topology)
    _own(merged, application, wanted, others=[replace(one, fields=one.fields - differing) for one in others], mine=mine)
    return merged


def applied_new(application: Application, resource: Resource) -> Object:
    """The application as a new object with its ownership noted."""
    obj: Object = copied(application.wanted)
    fields = frozenset(leaves(obj, Topology(resource)))
    write_entries(obj, [Entry(application.manager, fields, application.now)])
    return obj


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _handed_over(
    conflicts: Mapping[Manager, list[Path]], application: Application, live: Object, present: Leaves, topology: Topology
) -> bool:
    """Whether kubectl only takes over what it applied from the client's side before: values that are as it left them.

    Source: Kubernetes documentation, "Server-Side Apply: Upgrading from client-side apply".
    """
    if application.manager.name != "kubectl":
        return False
    try:
        text = (metadata(live).get("annotations") or {}).get(LAST_APPLIED, "")
        before = leaves(msgspec.json.decode(text, type=dict[str, Any]), topology)
    except (msgspec.MsgspecError, AttributeError):
        return False
    untouched = {path for path, value in before.items() if path in present and present[path] == value}
    return all(path in untouched for paths in conflicts.values() for path in paths)


def _own(merged: Object, application: Application, wanted: Leaves, *, others: list[Entry], mine: Entry | None) -> None:
    fields = frozenset(wanted)
    time = mine.time if mine is not None and mine.fields == fields else application.now
    write_entries(merged, [*others, Entry(application.manager, fields, time)])


def _abandoned(mine: Entry | None, others: list[Entry], wanted: Leaves) -> list[Path]:
    """What the manager applied before and doesn't any more, and nobody else owns; whole items first."""
    if mine is None:
        return []
    owned = frozenset().union(*(entry.fields for entry in others))
    gone = [path for path in mine.fields - wanted.keys() if path not in owned]
    kept = [*wanted, *owned]
    return sorted((path for path in gone if not _holds(path, kept)), key=len)


def _holds(path: Path, kept: list[Path]) -> bool:
    return any(len(one) > len(path) and one[: len(path)] == path for one in kept)


def conflict_error(conflicts: Mapping[Manager, list[Path]]) -> StatusError:
    """The Status of an apply that would change what others own."""
    causes = []
    texts = []
    for manager, paths in conflicts.items():
        who = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
        using = f"{who} using {manager.api_version}"
        for path in paths:
            message = f"conflict with {using}"
            causes.append({"reason": "FieldManagerConflict", "message": message, "field": path_text(path)})
        if len(paths) == 1:
            texts.append(f"conflict with {using}: {path_text(paths[0])}")
        else:
            texts.append(f"conflicts with {using}:\n" + "\n".join(f"- {path_text(path)}" for path in paths))
    plural = "" if len(causes) == 1 else "s"
    message = f"Apply failed with {len(causes)} conflict{plural}: " + "\n".join(texts)
    return StatusError(409, "Conflict", message, details={"causes": causes})


def _merged(live: Object, wanted: Object, topology: Topology) -> Object:
    merged: Object = copied(live)
    for name, value in wanted.items():
        if name == "metadata":
            kept = {key: one for key, one in value.items() if key not in ("managedFields", "creationTimestamp")}
            merged[name] = _merge(merged.get(name), kept, ("f:metadata",), topology)
        elif name not in ("apiVersion", "kind"):
            merged[name] = _merge(merged.get(name), value, (f"f:{name}",), topology)
    return merged


def _merge(live: Any, wanted: Any, path: Path, topology: Topology) -> Any:
    shape = topology.shape(path, wanted)
    if live is None or type(live) is not type(wanted) or shape.kind == "atomic":
        return copied(wanted)
    if shape.kind == "map":
        return {**live, **{k: _merge(live.get(k), v, (*path, f"f:{k}"), topology) for k, v in wanted.items()}}
    if shape.kind == "set":
        return [*live, *(one for one in wanted if one not in live)]
    return _merge_items(live, wanted, path, shape, topology)


def _merge_items(live: list[Any], wanted: list[Any], path: Path, shape: Shape, topology: Topology) -> list[Any]:
    """Items by their keys, in the order that is wanted; what only others have stays before what it stood before."""
    there, applied = dict(elements(live, shape)), dict(elements(wanted, shape))
    merged = {key: _merge(there.get(key), one, (*path, key), topology) for key, one in applied.items()}
    ordered: dict[str, Any] = {}
    rest = iter(merged)
    for key, one in there.items():
        if key not in merged:
            ordered[key] = one
        while key in merged and key not in ordered:
            before = next(rest)
            ordered[before] = merged[before]
    return [*ordered.values(), *(merged[key] for key in rest)]


def _remove(obj: Any, path: Path, topology: Topology) -> None:
    """Take a leaf out of an object, and the maps that it leaves empty."""
    nodes = [obj]
    for depth, part in enumerate(path[:-1]):
        below = _descend(nodes[-1], part, topology.shape(path[:depth], nodes[-1]))
        if below is None:
            return
        nodes.append(below)
    for depth in range(len(nodes) - 1, -1, -1):
        _drop(nodes[depth], path[depth], topology.shape(path[:depth], nodes[depth]))
        if nodes[depth] or depth == 0:
            return


def _descend(node: Any, part: str, shape: Shape) -> Any:
    if part.startswith("f:"):
        return node.get(part[2:]) if isinstance(node, dict) else None
    if not isinstance(node, list):
        return None
    return next((one for one in node if isinstance(one, dict) and item_key(one, shape.keys) == part), None)


def _drop(node: Any, part: str, shape: Shape) -> None:
    if isinstance(node, dict):
        node.pop(part[2:], None)
    elif isinstance(node, list) and part.startswith("v:"):
        node[:] = [one for one in node if set_key(one) != part]
    elif isinstance(node, list):
        node[:] = [one for one in node if not (isinstance(one, dict) and item_key(one, shape.keys) == part)]
