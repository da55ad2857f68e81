"""Whether the endpoints of an import may be called: what the peer says of its pods, how old that is, who else could
answer, and what the importer has chosen.

Pure: the time comes in as an argument. Source: docs/reference.md, "Which imports are ready".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from isthmus.federation.messages import Health
from isthmus.federation.selection import Problem

KEEP_STALE: Final = "isthmus.io/keep-stale"
"""On an ImportedServiceSet: how long imports are kept ready while the peer is away, ``forever`` or a duration."""
FAILOVER: Final = "isthmus.io/failover"
"""On an ImportedServiceSet: ``"true"`` lets an import that joins a local Service be ready only while that has no ready
endpoint of its own."""
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:[0-9]{1,6}(?:ms|s|m|h|d))+")
_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h|d)")


class Availability(Enum):
    """How the imports from one peer are."""

    CURRENT = "current"
    STALE = "stale"
    """The peer is away; what it said last counts."""
    EXPIRED = "expired"
    """It has been away for longer than the importer keeps what it said."""


@dataclass(frozen=True, slots=True)
class ImportPolicy:
    """What the importer has chosen; ``keep_stale`` is None for ever."""

    keep_stale: timedelta | None = None
    is_failover: bool = False
    problems: tuple[Problem, ...] = ()


def import_policy(annotations: Mapping[str, str]) -> ImportPolicy:
    """Read the annotations of an ImportedServiceSet; one that cannot be used counts as not given, and is told of."""
    problems = []
    kept, failover = annotations.get(KEEP_STALE, "forever"), annotations.get(FAILOVER, "false")
    keep_stale = None
    if _DURATION.fullmatch(kept):
        keep_stale = timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(kept)))
    elif kept != "forever":
        problems.append(_unusable(KEEP_STALE, kept, "forever or a duration such as 90s, 10m or 1h30m"))
    if failover not in {"true", "false"}:
        problems.append(_unusable(FAILOVER, failover, "true or false"))
    return ImportPolicy(keep_stale, failover == "true", tuple(problems))


def availability(away_for: timedelta | None, policy: ImportPolicy) -> tuple[Availability, timedelta | None]:
    """How the imports of a peer are that is away for so long, and when that may be different without an event."""
    if away_for is None:
        return Availability.CURRENT, None
    if policy.keep_stale is None:
        return Availability.STALE, None
    left = policy.keep_stale - away_for
    return (Availability.STALE, left) if left > timedelta(0) else (Availability.EXPIRED, None)


def is_ready(*, health: Health | None, state: Availability, policy: ImportPolicy, is_local_ready: bool) -> bool:
    """Whether the endpoints of an import are ready; ``is_local_ready``: the Service that it joins has a ready pod here.

    A peer that says nothing of its pods (an old one) is believed to have some.
    """
    if (health is not None and health.ready == 0) or state is Availability.EXPIRED:
        return False
    return not (is_local_ready and (policy.is_failover or state is Availability.STALE))


def _unusable(annotation: str, value: str, expected: str) -> Problem:
    return Problem(0, "InvalidAnnotation", f"annotation {annotation}: {value[:80]!r} is not used: expected {expected}")
