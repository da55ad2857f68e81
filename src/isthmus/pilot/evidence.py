"""What one replica has seen of a link, beside its times: the ground on which the conditions of a peer rest.

Times are of the monotonic clock, in seconds. Mutable, with a single owner (``link``); what it means is decided in
``federation.peer_conditions``.
"""

from dataclasses import dataclass
from typing import Final

from isthmus.clock import Clock
from isthmus.federation.link_causes import Diagnosis

SETTLED_S: Final = 3.0
"""So long after a change nothing is missed that may still come: a watch of a peer that is being connected."""


@dataclass(slots=True)
class Evidence:
    """What was seen; ``changed_at`` is when the link last became another."""

    changed_at: float
    watch_failure: str = ""
    """Why the watch does not stand; empty while it does, and until it was tried."""
    gateway_failure: str = ""
    """Why our own egress gateway cannot be called."""
    doubt: str = ""
    """What the peer said that was not used, since its last list that was."""
    is_listed: bool = False
    """Whether a list has come since the watch was opened."""
    peer_clock_s: float | None = None
    """What the peer's clock showed, in seconds since 1970, when our monotonic one was at 0; None if it never said."""
    remote_left_at: float = 0.0
    """When the last of the peer's watches of us ended; who was refused before is no cause of it."""
    diagnosis: Diagnosis | None = None
    """What trying has shown, while the watch does not stand."""
    calls: Diagnosis | None = None
    """Why calls of the peer's services do not arrive, while the watch stands."""
    called_at: float = float("-inf")
    """When that was tried last."""

    def unsettles_for_s(self, now: float) -> float:
        """How long it is until what is missing is missed; 0 if it is now."""
        return max(0.0, self.changed_at + SETTLED_S - now)

    def clock_offset_s(self, clock: Clock) -> float | None:
        """How far the peer's clock is ahead of ours, which may have been set since the peer told its time."""
        if self.peer_clock_s is None:
            return None
        return self.peer_clock_s + clock.monotonic_s() - clock.now().timestamp()

    def connected(self, clock: Clock, clock_offset_s: float | None) -> None:
        """The watch stands; the peer's clock is so far ahead of ours, if it said so."""
        self.changed_at = clock.monotonic_s()
        self.watch_failure = self.gateway_failure = self.doubt = ""
        self.diagnosis, self.is_listed = None, False
        self.clock_told(clock, clock_offset_s)

    def clock_told(self, clock: Clock, offset_s: float | None) -> None:
        """The peer's clock is so far ahead of ours now; None if it did not say."""
        ours_s = clock.now().timestamp() - clock.monotonic_s()
        self.peer_clock_s = None if offset_s is None else ours_s + offset_s

    def listed(self) -> None:
        """A list has come, and is used."""
        self.doubt, self.is_listed = "", True

    def failed(self, now: float, cause: str, *, at_own_gateway: bool) -> None:
        """The watch was lost, or could not be made."""
        if not self.watch_failure:
            self.changed_at = now
        self.watch_failure, self.calls = cause, None
        self.gateway_failure = cause if at_own_gateway else ""

    def remote_left(self, now: float) -> None:
        """A watch of the peer has ended."""
        self.changed_at = self.remote_left_at = now

    def began_anew(self, now: float) -> None:
        """The peer is another, or elsewhere: what was seen of it says nothing any more."""
        self.changed_at = now
        self.watch_failure = self.gateway_failure = self.doubt = ""
        self.diagnosis = self.calls = self.peer_clock_s = None
        self.called_at = float("-inf")
