"""How long to wait before the next try."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.gateway.pace import FIRST_S, LONGEST_S, delay_s

jitters = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), jitters)
def test_a_delay_is_bounded(failures: int, jitter: float) -> None:
    """Never nothing, never longer than the longest."""
    assert FIRST_S / 2 < delay_s(failures, jitter=jitter) <= LONGEST_S


@given(st.integers(1, 100))
def test_delays_grow(failures: int) -> None:
    """With the same luck the next wait is at least as long."""
    assert delay_s(failures, jitter=0) <= delay_s(failures + 1, jitter=0)
