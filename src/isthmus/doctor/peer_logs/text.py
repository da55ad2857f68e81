"""Entries as people read them, a line each with where it is from, and as JSON for programs. Pure.

What is in a log has come from other meshes too: nothing in it may move a cursor or colour a terminal.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from isthmus.doctor.peer_logs.entries import Entry
from isthmus.doctor.printable import printable

_LEFT_OUT = frozenset(
    (
        "timestamp",
        "time",
        "level",
        "event",
        "peer",
        "kind",
        "direction",
        "message",
        "component",
        "key",
        "queue",
        "reconcile_id",
    )
)
"""Shown elsewhere in the line, or of use to programs only."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_COLOURS = {"warning": "33", "error": "31", "critical": "31", "refused": "33"}


def duration(text: str) -> timedelta:
    """Read ``90s``, ``10m``, ``1h30m``; ValueError for anything else."""
    if not re.fullmatch(r"(?:[0-9]{1,6}[smhd])+", text):
        raise ValueError(f"duration {text[:40]!r}: expected one such as 90s, 10m or 1h30m")
    parts = re.findall(r"([0-9]+)([smhd])", text)
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


def as_text(entry: Entry, *, width: int, has_colour: bool) -> str:
    """One line: the time, where it is from, and what it says. width: of the column of where."""
    said = " ".join(_words(entry.fields)) if entry.fields else entry.text
    where = f"{entry.source.mesh} {entry.source.component}"
    line = f"{entry.time:%H:%M:%S}.{entry.time.microsecond // 1000:03d} {where:<{width}} {printable(said)}"
    colour = _COLOURS.get(str(entry.fields.get("level") or entry.fields.get("kind")))
    return f"\x1b[{colour}m{line}\x1b[0m" if has_colour and colour else line


def _words(fields: Mapping[str, Any]) -> Iterator[str]:
    for name in ("level", "kind", "direction", "event", "message"):
        if fields.get(name):
            yield f"{fields[name]}"
    for name, value in fields.items():
        if name not in _LEFT_OUT and value not in ("", None):
            yield f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def as_json(entry: Entry) -> str:
    """One JSON object a line: the fields of a line that has some, else its text."""
    content: dict[str, Any] = {"fields": dict(entry.fields)} if entry.fields else {"text": entry.text}
    where = {
        "time": entry.time.isoformat().replace("+00:00", "Z"),
        "context": entry.source.context,
        "mesh": entry.source.mesh,
        "component": entry.source.component,
        "pod": entry.pod,
    }
    return json.dumps({**where, **content})
