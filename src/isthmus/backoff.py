"""How long to wait before trying again: exponential, with jitter, bounded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first wait, the longest wait, and the factor between one and the next."""

    first_s: float = 0.1
    longest_s: float = 10.0
    factor: float = 2.0

    def delay_s(self, failures: int, *, jitter: float) -> float:
        """Say how long to wait after so many failures in a row.

        jitter: ``0 <= jitter < 1``; half of the wait is certain, the other half is scaled by it, so that many clients
        of a server that comes back do not come at once. No failures, no wait.
        """
        if failures <= 0:
            return 0.0
        # The exponent is bounded before the power, which would overflow after a weekend of failures.
        longest = min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 64))
        return longest * (0.5 + jitter / 2)
