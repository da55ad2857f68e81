"""When the endpoints of imports are ready. Sections: docs/reference.md, "Which imports are ready"."""

from datetime import timedelta

import pytest

from isthmus.federation.availability import (
    FAILOVER,
    KEEP_STALE,
    Availability,
    ImportPolicy,
    availability,
    import_policy,
    is_ready,
)
from isthmus.federation.messages import Health

NONE, SOME = Health(0, 3), Health(1, 3)
CURRENT, STALE, EXPIRED = Availability.CURRENT, Availability.STALE, Availability.EXPIRED


@pytest.mark.parametrize(
    ("health", "state", "is_failover", "is_local_ready", "expected"),
    [
        pytest.param(None, CURRENT, False, False, True, id="an old peer says nothing"),
        pytest.param(SOME, CURRENT, False, False, True, id="a pod is ready there"),
        pytest.param(NONE, CURRENT, False, False, False, id="no pod is ready there"),
        pytest.param(SOME, CURRENT, False, True, True, id="beside local pods"),
        pytest.param(SOME, CURRENT, True, True, False, id="failover, local pods are there"),
        pytest.param(SOME, CURRENT, True, False, True, id="failover, local pods are gone"),
        pytest.param(NONE, CURRENT, True, False, False, id="failover, nobody is there"),
        pytest.param(SOME, STALE, False, False, True, id="the peer is away, and nobody else answers"),
        pytest.param(SOME, STALE, False, True, False, id="the peer is away, local pods answer"),
        pytest.param(SOME, EXPIRED, False, False, False, id="away for too long"),
    ],
)
def test_readiness(
    health: Health | None, state: Availability, *, is_failover: bool, is_local_ready: bool, expected: bool
) -> None:
    """An import is ready as far as its peer, the age of what is known, and the pods here allow."""
    policy = ImportPolicy(is_failover=is_failover)
    assert is_ready(health=health, state=state, policy=policy, is_local_ready=is_local_ready) is expected


@pytest.mark.parametrize(
    ("away_s", "kept", "expected", "again_s"),
    [
        (None, "10s", CURRENT, None),
        (5, "forever", STALE, None),
        (5, "10s", STALE, 5),
        (10, "10s", EXPIRED, None),
        (0, "0s", EXPIRED, None),
        (5400, "1h30m1s", STALE, 1),
    ],
)
def test_how_long_imports_are_kept(away_s: int | None, kept: str, expected: Availability, again_s: int | None) -> None:
    """While the peer is away imports are stale, and expired once the importer's time is over; for ever by default."""
    away_for = None if away_s is None else timedelta(seconds=away_s)
    state, again = availability(away_for, import_policy({KEEP_STALE: kept}))
    assert (state, again) == (expected, None if again_s is None else timedelta(seconds=again_s))


@pytest.mark.parametrize("value", ["", "10", "s", "-1s", "1w", "Forever", "1s ", "9999999s"])
def test_a_time_that_cannot_be_read_is_told(value: str) -> None:
    """What is no duration counts as for ever, and is named with what is expected."""
    policy = import_policy({KEEP_STALE: value})
    assert policy.keep_stale is None
    assert "expected forever or a duration" in policy.problems[0].message


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), ("yes", False)])
def test_failover_is_chosen_by_annotation(value: str, expected: bool) -> None:
    """Only ``true`` and ``false`` are understood."""
    policy = import_policy({FAILOVER: value})
    assert policy.is_failover is expected
    assert bool(policy.problems) is (value == "yes")
