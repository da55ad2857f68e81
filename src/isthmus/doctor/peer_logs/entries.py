"""A line of a log as an entry with its time, and whether it concerns the peer. Pure.

Lines come with the time at which the node took them down (``timestamps=true``), which is the same clock for all
components of a node, and there also where a component writes no time of its own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from isthmus.doctor.peer_logs.sources import Source

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``fields``: what is in it, if it is a JSON object."""

    time: datetime
    source: Source
    pod: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def parse_line(line: bytes, *, source: Source, pod: str) -> Entry | None:
    """Read ``<RFC 3339 time> <line>``; None for a line that does not begin so."""
    stamp, _, text = line.decode(errors="replace").partition(" ")
    time = parse_time(stamp)
    return None if time is None else Entry(time, source, pod, text, _fields(text))


def parse_time(stamp: str) -> datetime | None:
    """An RFC 3339 time to the microsecond; None for anything else."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def concerns(entry: Entry) -> bool:
    """Whether the line is about the peer that its source is read for.

    A line that names a peer is about that one; a gateway that several share is named with all of them, ``red-mesh,
    blue-mesh``. Of the others, a gateway's are about all peers that it serves, and a control plane's are if they speak
    of one of the peer's gateways.
    """
    named = entry.fields.get("peer")
    if named:
        return entry.source.peer in str(named).split(", ")
    if not entry.source.is_control_plane:
        return True
    return bool(entry.text) and any(_mentions(entry.text, name) for name in (entry.source.peer, *entry.source.gateways))


def _mentions(text: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _fields(text: str) -> dict[str, Any]:
    """The fields of a line that is a JSON object; none for any other."""
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
