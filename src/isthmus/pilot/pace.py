"""How often the status of one resource is looked at and written."""

from dataclasses import dataclass

WRITES_PER_S = 1.0
BURST = 4.0
"""Writes that may follow each other at once after a quiet time: a link that goes up makes three or four changes, and
whoever has just created the resource is waiting for the last."""
REST_S = 0.1
REST_PER_SERVICE_S = 0.001
"""How long a status is left alone after a look, and how much longer for each service that it lists: the API server
stores the whole list anew, and sends it to whoever watches, for one entry that changes."""


@dataclass(slots=True)
class Pace:
    """How many writes one resource may still have at once; 0 <= tokens <= BURST."""

    tokens: float = BURST
    seen_at: float = 0.0
    rests_until: float = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next look, and write, may be made; 0 if it may be now."""
        self.tokens = min(BURST, self.tokens + (now - self.seen_at) * WRITES_PER_S)
        self.seen_at = now
        return max(0.0, (1.0 - self.tokens) / WRITES_PER_S, self.rests_until - now)

    def written(self) -> None:
        """A write was made."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def looked(self, now: float, *, services: int) -> None:
        """The status was looked at, which lists so many services."""
        self.rests_until = now + REST_S + services * REST_PER_SERVICE_S
