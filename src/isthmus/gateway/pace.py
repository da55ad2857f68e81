"""How long to wait before the next try; chance comes in as an argument."""

FIRST_S = 0.2
LONGEST_S = 10.0


def delay_s(failures: int, *, jitter: float) -> float:
    """Seconds to wait after so many failures in a row (at least one): doubled each time, up to ``LONGEST_S``.

    ``jitter`` in [0, 1) takes up to half of it away, so that the gateways of a mesh do not all come at once when their
    pilot is back.
    """
    # Bounded before the power, which grows without end.
    doubled = FIRST_S * 2.0 ** min(failures - 1, 16)
    return min(doubled, LONGEST_S) * (1 - jitter / 2)
