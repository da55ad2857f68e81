"""Links as a table for people, and as objects for programs. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from isthmus.doctor.links.lines import LinkLine
from isthmus.doctor.printable import printable
from isthmus.federation.causes import READY


def as_object(line: LinkLine) -> dict[str, Any]:
    """The line for programs."""
    return {
        "context": line.context,
        "namespace": line.namespace,
        "mesh": line.mesh,
        "peer": line.peer,
        "watching": line.is_watching,
        "watched": line.is_watched,
        "ready": line.is_ready,
        "reason": line.reason,
        "message": line.message or line.why,
        "exports": line.exports,
        "offered": line.offered,
        "imports": line.imports,
        "lastSync": None if line.last_sync is None else line.last_sync.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "addresses": list(line.addresses),
        "trustDomain": line.trust_domain,
        "pods": line.pods,
    }


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns there are."""

    is_wide: bool = False
    has_contexts: bool = False
    """Lines are of several contexts."""
    has_header: bool = True


def table(lines: Sequence[LinkLine], layout: Layout, *, now: datetime) -> str:
    """The lines in columns."""
    shown = [each for each in _COLUMNS if each.is_in(layout)]
    rows = [[each.title for each in shown]] if layout.has_header else []
    rows += [[printable(each.cell(line, now)) or "-" for each in shown] for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("   ".join(row).rstrip() for row in padded)


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, as kubectl writes it."""
    if moment is None:
        return "never"
    past = max(now - moment, timedelta(0))
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        if past >= 2 * length:
            return f"{past // length}{unit}"
    return f"{past // timedelta(seconds=1)}s"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[LinkLine, datetime], str]
    wide_only: bool = False

    def is_in(self, layout: Layout) -> bool:
        return (layout.is_wide or not self.wide_only) and (layout.has_contexts or self.title != "CONTEXT")


_READY: Final = {True: "yes", False: "no", None: "?"}
_COLUMNS: Final = (
    _Column("CONTEXT", lambda line, _: line.context),
    _Column("MESH", lambda line, _: f"{line.namespace}/{line.mesh}" if line.mesh else line.namespace),
    _Column("PEER", lambda line, _: line.peer),
    _Column("LINK", lambda line, _: line.link),
    _Column("READY", lambda line, _: _READY[line.is_ready]),
    _Column("EXPORTS", lambda line, _: str(line.exports) if line.peer else ""),
    _Column("IMPORTS", lambda line, _: f"{line.imports} of {line.offered}" if line.peer else ""),
    _Column("SYNCED", lambda line, now: age(line.last_sync, now) if line.peer else ""),
    _Column("PODS", lambda line, _: str(line.pods) if line.peer else "", wide_only=True),
    _Column("ADDRESSES", lambda line, _: ",".join(line.addresses), wide_only=True),
    _Column("TRUST DOMAIN", lambda line, _: line.trust_domain, wide_only=True),
    _Column("REASON", lambda line, _: line.reason),
    _Column("WHY", lambda line, _: "" if line.is_ready and line.reason == READY else line.why),
)
