"""Back-off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "jitter", "delay_s"),
    [(0, 0.9, 0.0), (1, 0.0, 0.05), (1, 1.0, 0.1), (2, 1.0, 0.2), (4, 1.0, 0.8), (9, 1.0, 10.0), (10**9, 1.0, 10.0)],
)
def test_delay(failures: int, jitter: float, delay_s: float) -> None:
    """The wait doubles up to the longest, half of it being certain."""
    assert Backoff().delay_s(failures, jitter=jitter) == pytest.approx(delay_s)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_bounds(failures: int, jitter: float) -> None:
    """After a failure there is always a wait, and never longer than the longest."""
    backoff = Backoff(first_s=0.2, longest_s=5)
    assert 0.1 <= backoff.delay_s(failures, jitter=jitter) <= 5
