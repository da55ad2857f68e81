"""Since when a peer cannot be reached, which is shown, and for how long, however the time of day is set meanwhile."""

from datetime import datetime, timedelta

from isthmus.clock import CLOCK, Clock


class Absence:
    """``since`` is None while the peer can be reached, and until that was tried for the first time."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.since: datetime | None = None
        self.before: datetime | None = None
        """Since when it could not be reached when the last process of this mesh ended."""
        self._clock = clock
        self._since_s = 0.0

    def begins(self) -> None:
        """The peer cannot be reached; if an earlier process has told so, it has been so since then."""
        if self.since is None:
            now = self._clock.now()
            self.since = self.before or now
            self._since_s = self._clock.monotonic_s() - max(0.0, (now - self.since).total_seconds())

    def ends(self) -> None:
        """The peer is reached."""
        self.since = self.before = None

    @property
    def lasts(self) -> timedelta | None:
        """For how long it could not be reached; None while it can."""
        return None if self.since is None else timedelta(seconds=self._clock.monotonic_s() - self._since_s)
