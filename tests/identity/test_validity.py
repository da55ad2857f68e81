"""When a certificate holds and when it is replaced."""

from datetime import datetime, timedelta

import pytest
from tests.identity.corpus import DAY, LEAF, NOW, Recipe

from isthmus.identity import CLOCK_SKEW, expired_at, renewal_time, valid_at, validity_error

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
