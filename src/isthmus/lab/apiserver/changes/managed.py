"""Who manages which field: ``metadata.managedFields``. Pure.

Source: Kubernetes documentation, "Server-Side Apply: Field management".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from isthmus.lab.apiserver.changes.fields import Path, Topology, from_fields_v1, leaves, to_fields_v1
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object, metadata


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: a name, how (``Update`` or ``Apply``), through which version and subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's fields, and when they last changed ("": a client has not told)."""

    manager: Manager
    fields: frozenset[Path]
    time: str

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "manager": self.manager.name,
            "operation": self.manager.operation,
            "apiVersion": self.manager.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(self.fields),
        }
        if self.time:
            out["time"] = self.time
        if self.manager.subresource:
            out["subresource"] = self.manager.subresource
        return out


def read_entries(listed: Any) -> list[Entry]:
    """The entries of ``managedFields``; items that are none are dropped."""
    return [_read_entry(one) for one in listed or () if isinstance(one, Mapping) and one.get("fieldsV1")]


def _read_entry(one: Mapping[str, Any]) -> Entry:
    manager = Manager(
        str(one.get("manager") or "unknown"),
        str(one.get("operation") or "Update"),
        str(one.get("apiVersion") or ""),
        str(one.get("subresource") or ""),
    )
    return Entry(manager, frozenset(from_fields_v1(one["fieldsV1"])), str(one.get("time") or ""))


def write_entries(obj: Object, entries: Iterable[Entry]) -> None:
    """Set an object's ``managedFields``; managers without a field are left out."""
    kept = [entry for entry in entries if entry.fields]
    kept.sort(key=lambda entry: (entry.manager.operation != "Apply", entry.time, entry.manager.name))
    if kept:
        metadata(obj)["managedFields"] = [entry.to_json() for entry in kept]
    else:
        metadata(obj).pop("managedFields", None)


def track(new: Object, old: Object | None, manager: Manager, *, resource: Resource, now: str) -> None:
    """Note in ``new`` what its manager changed by an Update; changed fields leave their former managers."""
    topology = Topology(resource)
    after = leaves(new, topology)
    before = leaves(old, topology) if old is not None else {}
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    entries = _base(new, old)
    if old is not None and not changed and before.keys() == after.keys():
        write_entries(new, entries)
        return
    entries = [_without(entry, changed, after.keys(), mine=entry.manager == manager) for entry in entries]
    write_entries(new, _with_manager(entries, manager, changed, now))


def _base(new: Object, old: Object | None) -> list[Entry]:
    """What the write starts from: the client's own list if it sent one, else the stored one."""
    if old is None:
        return []
    listed = metadata(new).get("managedFields")
    return read_entries(metadata(old).get("managedFields") if listed is None else listed)


def _without(entry: Entry, changed: frozenset[Path], present: Iterable[Path], *, mine: bool) -> Entry:
    kept = entry.fields.intersection(present)
    return replace(entry, fields=frozenset(kept if mine else kept - changed))


def _with_manager(entries: list[Entry], manager: Manager, changed: frozenset[Path], now: str) -> list[Entry]:
    for index, entry in enumerate(entries):
        if entry.manager == manager:
            fields = entry.fields | changed
            entries[index] = Entry(manager, fields, now if changed else entry.time)
            return entries
    return [*entries, Entry(manager, changed, now)]
