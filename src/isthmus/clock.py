"""The two clocks of a machine: what time it is, and how long ago something was.

The first may be set at any moment, by hours and in either direction; what depends on a duration goes by the second.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Clock:
    """``now``: the time of day in UTC, for certificates and for what is shown; ``monotonic_s``: seconds since some
    moment, never set."""

    now: Callable[[], datetime]
    monotonic_s: Callable[[], float]


CLOCK: Final = Clock(now=lambda: datetime.now(UTC), monotonic_s=time.monotonic)
"""Those of this machine."""
