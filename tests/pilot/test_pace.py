"""How often a status is looked at and written."""

import pytest

from isthmus.pilot.pace import BURST, REST_PER_SERVICE_S, REST_S, Pace


def test_a_few_writes_follow_each_other_and_then_one_a_second() -> None:
    """The first BURST writes after a quiet time need not wait, the next waits for a second."""
    pace = Pace()
    for _ in range(int(BURST)):
        assert pace.wait_s(100.0) == 0
        pace.written()
    assert pace.wait_s(100.0) == pytest.approx(1.0)


@pytest.mark.parametrize("services", [0, 1_000, 10_000])
def test_a_status_rests_the_longer_the_more_it_lists(services: int) -> None:
    """After a look, a status is left alone for a time that grows with the services that it lists, written or not."""
    pace = Pace()
    assert pace.wait_s(100.0) == 0
    pace.looked(100.0, services=services)
    rest_s = REST_S + services * REST_PER_SERVICE_S
    assert pace.wait_s(100.0) == pytest.approx(rest_s)
    assert pace.wait_s(100.0 + rest_s) == pytest.approx(0)
