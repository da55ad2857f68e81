"""Times in headers: by one, two control planes notice that their clocks are apart; by another, a certificate ends.

Source: docs/protocol.md §2, "What Isthmus adds".
"""

import math
import time
from typing import Final

TIME_HEADER: Final = "isthmus-time"
MAX_OFFSET_S: Final = 100 * 366 * 86_400.0
"""What differs more is no time at all."""


def time_header() -> str:
    """The value of the header now: seconds since 1970, UTC."""
    return f"{time.time():.3f}"


def clock_offset_s(told: str | None, *, now: float) -> float | None:
    """How far the peer's clock is ahead of ours, ``now``; None if it did not say, or said nonsense."""
    moment = moment_of(told)
    offset = moment - now if moment is not None else math.nan
    return offset if math.isfinite(offset) and abs(offset) <= MAX_OFFSET_S else None


def moment_of(told: str | None) -> float | None:
    """A header's seconds since 1970; None if it is not there, or is no number."""
    try:
        moment = float(told or "nan")
    except ValueError:
        return None
    return moment if math.isfinite(moment) else None
