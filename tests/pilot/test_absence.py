"""How long a peer is away, and how far its clock is ahead, by a clock that is set meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest

from isthmus.clock import Clock
from isthmus.pilot.absence import Absence
from isthmus.pilot.evidence import Evidence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class SetClock:
    """Both clocks of a machine; ``passes`` moves both, ``set`` that of the day."""

    def __init__(self) -> None:
        self.now = NOW
        self.monotonic_s = 1000.0
        self.clock = Clock(now=lambda: self.now, monotonic_s=lambda: self.monotonic_s)

    def passes(self, time: timedelta) -> None:
        self.now += time
        self.monotonic_s += time.total_seconds()

    def set(self, by: timedelta) -> None:
        self.now += by


def known(absence: Absence) -> tuple[datetime | None, timedelta | None]:
    """Since when, and for how long."""
    return absence.since, absence.lasts


@pytest.mark.parametrize("set_by", [HOUR, -HOUR, 0 * HOUR], ids=["forward", "back", "not at all"])
def test_a_peer_is_away_for_as_long_as_it_is(set_by: timedelta) -> None:
    """A clock that is set makes no absence longer or shorter, nor another one of it."""
    time = SetClock()
    absence = Absence(time.clock)
    assert known(absence) == (None, None)
    absence.begins()
    time.passes(MINUTE)
    time.set(set_by)
    absence.begins()
    assert known(absence) == (NOW, MINUTE)
    absence.ends()
    assert known(absence) == (None, None)
    absence.begins()
    assert known(absence) == (NOW + MINUTE + set_by, 0 * MINUTE)


@pytest.mark.parametrize(
    ("before", "lasts"), [(NOW - HOUR, HOUR + MINUTE), (NOW + HOUR, MINUTE)], ids=["earlier", "a time to come"]
)
def test_what_an_earlier_process_noticed_counts(before: datetime, lasts: timedelta) -> None:
    """An absence that is known from before a restart goes on; one that has not begun, by a clock set back, begins."""
    time = SetClock()
    absence = Absence(time.clock)
    absence.before = before
    absence.begins()
    time.passes(MINUTE)
    time.set(HOUR)
    assert known(absence) == (before, lasts)


def test_clocks_are_apart_as_long_as_they_are() -> None:
    """Once ours is set right, it is known that the clocks agree, though the peer has not told its time again."""
    time = SetClock()
    seen = Evidence(changed_at=0.0)
    assert seen.clock_offset_s(time.clock) is None
    seen.connected(time.clock, 600.0)
    time.passes(HOUR)
    assert seen.clock_offset_s(time.clock) == pytest.approx(600.0)
    time.set(timedelta(seconds=600))
    assert seen.clock_offset_s(time.clock) == pytest.approx(0.0)
    time.passes(HOUR)
    seen.clock_told(time.clock, -600.0)
    assert seen.clock_offset_s(time.clock) == pytest.approx(-600.0)
    seen.connected(time.clock, None)
    assert seen.clock_offset_s(time.clock) is None
