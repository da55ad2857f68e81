"""When a certificate holds and when it is replaced."""

from datetime import datetime, timedelta

import pytest
from tests.identity.corpus import DAY, LEAF, NOW, Recipe

from isthmus.identity import CLOCK_SKEW, Term, expired_at, renewal_time, valid_at, validity_error

CERTIFICATE = LEAF.self_signed()
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("moment", "valid", "expired"),
    [
        (NOW - DAY - SECOND, False, False),
        (NOW - DAY, True, False),
        (NOW, True, False),
        (NOW + DAY, True, False),
        (NOW + DAY + SECOND, False, True),
    ],
    ids=["before", "first moment", "between", "last moment", "after"],
)
def test_both_ends_of_the_time_are_included(moment: datetime, valid: bool, expired: bool) -> None:
    """RFC 5280 §4.1.2.5: notBefore and notAfter are inclusive."""
    assert valid_at(CERTIFICATE, moment) is valid
    assert expired_at(CERTIFICATE, moment) is expired
    assert (validity_error(CERTIFICATE, moment) is None) is valid


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_a_certificate_is_renewed_at_about_half_of_its_life(jitter: float) -> None:
    """Between four and six tenths of the time counted from its issue."""
    certificate = Recipe(not_before=NOW - CLOCK_SKEW, not_after=NOW + DAY).self_signed()
    assert NOW + 0.4 * DAY <= renewal_time(certificate, jitter=jitter) <= NOW + 0.6 * DAY


@pytest.mark.parametrize(
    ("passed", "set_by", "left"),
    [
        (0 * DAY, 0 * DAY, 0.5 * DAY),
        (0.25 * DAY, 0 * DAY, 0.25 * DAY),
        (0.5 * DAY, 0 * DAY, 0 * DAY),
        (0.25 * DAY, 0.125 * DAY, 0.125 * DAY),
        (0 * DAY, 2 * DAY, 0 * DAY),
        (0.25 * DAY, -0.125 * DAY, 0.25 * DAY),
        (0.5 * DAY, -0.125 * DAY, 0 * DAY),
        (0 * DAY, -CLOCK_SKEW - SECOND, 0 * DAY),
    ],
    ids=[
        "new",
        "half of the way",
        "due",
        "set forward",
        "set forward past its end",
        "set back",
        "due, and set back",
        "set back before its beginning",
    ],
)
def test_a_certificate_is_replaced_when_either_clock_says_so(
    passed: timedelta, set_by: timedelta, left: timedelta
) -> None:
    """The time of day may be set: what has passed counts all the same, and so does that it does not hold now."""
    certificate = Recipe(not_before=NOW - CLOCK_SKEW, not_after=NOW + DAY).self_signed()
    term = Term.of(certificate, now=NOW, now_s=100.0, jitter=0.5)
    now_s = 100.0 + passed.total_seconds()
    assert term.left_s(now=NOW + passed + set_by, now_s=now_s) == pytest.approx(left.total_seconds())
