"""What we know of a peer's exports, and what to do when the peer says something: the importer's state machine.

Driven by hand: every input returns the actions that its owner must carry out; no clock, no randomness, no I/O inside.
``now`` is a monotonic time in seconds. Source: docs/protocol.md §2, "Messages" and "What Isthmus adds".

- The watch is opened first, then the list is fetched, then events are followed. Each event is tried on a draft and
  becomes known only if its checksum vouches for the result; else the list is fetched, once, and again only after a
  pause that doubles from ``FIRST_PAUSE_S`` to ``RESYNC_S``.
- A list may be newer than events still on their way to us, or older than events that came while it was fetched.
  Those are replayed on the draft: each says how a service *is*, so that the last one of each hostname decides, and
  the checksum of the last one tells when the two have met.
- Peers of 2.1 and 2.2 hash differently. A peer without heartbeat whose lists never match their own checksum, twice
  in a row, is believed, and its list is fetched for every event, because nothing vouches for those.
- A peer with heartbeat (another Isthmus) that falls silent is disconnected; one without is asked for its list every
  ``RESYNC_S``, and disconnected when it fails to give it three times.
- Nothing that a peer says, and no disconnect, empties what is known: only a list or an event that can be believed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from isthmus.federation.catalogue import Catalogue, Draft
from isthmus.federation.messages import MAX_SERVICES, ServiceList, ServiceMessage, WatchEvent

RESYNC_S: Final = 60.0
"""How often the list of a peer without heartbeat is fetched, and the longest pause between two fetches in doubt."""
FIRST_PAUSE_S: Final = 1.0
MISSED_HEARTBEATS: Final = 3
FAILED_LISTS: Final = 3
STABLE_S: Final = 5.0
"""A connection that held this long was a good one: after it, the first reconnect is immediate again."""
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 3.0
"""Below the five seconds within which a peer that is back must be active again."""
MAX_REPLAYED: Final = 20_000


@dataclass(frozen=True, slots=True)
class FetchList:
    """Get the list; then call ``list_received``, ``list_rejected`` or ``list_failed``, one of them and once."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The list that was received is what is known now."""


@dataclass(frozen=True, slots=True)
class Changed:
    """These services were added, changed or removed; how they are now is in ``PeerView.known``."""

    hostnames: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """What the peer sent was not used, for this reason; what was known stays."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection for this reason; then call ``disconnected``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Connect again after this time."""

    delay_s: float


Action = FetchList | Synced | Changed | Rejected | Disconnect


def reconnect_delay(attempt: int, *, jitter: float) -> float:
    """Seconds to wait before the ``attempt``-th reconnect in a row: none, then doubling up to LONGEST_DELAY_S.

    ``0 <= jitter < 1`` spreads each delay over its upper half, so that many clients do not come back at once.
    """
    if attempt == 0:
        return 0.0
    # The exponent is bounded too: after a day of attempts 2**attempt would be no float any more.
    longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * (1 << min(attempt - 1, 16)))
    return longest * (1 + jitter) / 2


class PeerView:
    """The state of one link to a peer; ``seed`` is what was known of it before, for instance by a former process."""

    def __init__(self, seed: Iterable[ServiceMessage] = (), *, max_services: int = MAX_SERVICES) -> None:
        self.known: Final = Catalogue(seed)
        self.is_foreign = False
        """The peer's lists do not match their checksum, and are believed nevertheless."""
        self.mismatches = 0
        """How often what the peer told did not have the checksum that came with it, and was not used."""
        self._max_services = max_services
        self._draft = Draft(self.known)
        self._expected: int | None = None  # checksum of the last event of this watch
        self._replay: list[WatchEvent] = []  # events since the fetch in flight began
        self._is_listed = False  # a list has been accepted on this watch
        self._is_fetching = False
        self._is_first_mismatch = True
        self._doubts = 0  # lists in a row that did not settle matters
        self._failures = 0  # lists in a row that could not be had at all
        self._attempts = 0  # connections in a row that failed or did not last
        self._connected_at: float | None = None
        self._heartbeat_s: float | None = None
        self._heard_at = 0.0
        self._asked_at = float("-inf")
        self._fetch_at: float | None = None

    @property
    def is_connected(self) -> bool:
        return self._connected_at is not None

    @property
    def deadline(self) -> float | None:
        """The next moment at which ``tick`` has something to do, or None."""
        moments = [moment for moment in (self._fetch_at, self._silence_at) if moment is not None]
        return min(moments, default=None)

    def connected(self, now: float, *, heartbeat_s: float | None = None) -> list[Action]:
        """The watch is open; ``heartbeat_s`` as the peer's header promises it, None for an old peer."""
        self._connected_at = self._heard_at = now
        self._heartbeat_s = heartbeat_s
        self._expected = None
        self._is_listed = False
        self._doubts = self._failures = 0
        self._is_first_mismatch = True
        self.is_foreign = self.is_foreign and heartbeat_s is None
        self._draft = Draft(self.known)
        return self._fetch(now)

    def disconnected(self, now: float, *, jitter: float) -> Reconnect:
        """The watch ended, or an attempt to open it failed; what is known stays."""
        if self._connected_at is not None and now - self._connected_at >= STABLE_S:
            self._attempts = 0
        delay_s = reconnect_delay(self._attempts, jitter=jitter)
        self._attempts += 1
        self._connected_at = self._fetch_at = None
        self._is_fetching = False
        self._replay = []
        return Reconnect(delay_s)

    def heartbeat(self, now: float) -> list[Action]:
        """The peer gave a sign of life that carries nothing."""
        self._heard_at = now
        return []

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if self._silence_at is not None and now >= self._silence_at:
            return [Disconnect(f"no heartbeat from the peer for {now - self._heard_at:.0f} s")]
        if self._fetch_at is not None and now >= self._fetch_at:
            return self._fetch(now)
        return []

    def event(self, event: WatchEvent, now: float) -> list[Action]:
        """The peer told of a change."""
        self._heard_at = now
        if len(self.known) + len(self._draft) >= self._max_services and event.action == "add":
            return [Rejected(f"the peer exports more than {self._max_services} services")]
        if self._is_fetching:
            self._keep_for_replay(event)
        if not self._is_listed or self.is_foreign:
            return self._want_list(now)
        return self._settle([event], now)

    def event_rejected(self, reason: str, now: float) -> list[Action]:
        """The peer sent a line that is no event."""
        self._heard_at = now
        return [Rejected(reason), *self._want_list(now)]

    def list_received(self, services: ServiceList, now: float) -> list[Action]:
        """The list that FetchList asked for is here, well formed."""
        received = Catalogue(services.services)
        is_vouched = received.checksum == services.checksum
        if not is_vouched and not self._believes_a_mismatch():
            self.mismatches += 1
            return self._reject_list(
                f"checksum {services.checksum} of the service list does not match its content,"
                f" {len(received)} services with checksum {received.checksum}",
                now,
            )
        self.is_foreign = not is_vouched
        self._is_first_mismatch = True
        return self._accept(services, now)

    def list_rejected(self, reason: str, now: float) -> list[Action]:
        """The peer's answer to FetchList was no list."""
        return self._reject_list(reason, now)

    def list_failed(self, now: float) -> list[Action]:
        """FetchList got no answer, or an answer that is not the peer's."""
        self._is_fetching = False
        self._failures += 1
        if self._heartbeat_s is None and self._failures >= FAILED_LISTS:
            return [Disconnect(f"the service list could not be fetched {self._failures} times in a row")]
        self._fetch_at = now + _pause(self._failures)
        return []

    @property
    def _silence_at(self) -> float | None:
        if self._heartbeat_s is None or self._connected_at is None:
            return None
        return self._heard_at + MISSED_HEARTBEATS * self._heartbeat_s

    def _believes_a_mismatch(self) -> bool:
        """An Isthmus hashes as we do; any other peer may be of 2.1 or 2.2, if it is consistent about it."""
        if self._heartbeat_s is not None:
            return False
        is_believed = self.is_foreign or not self._is_first_mismatch
        self._is_first_mismatch = False
        return is_believed

    def _accept(self, services: ServiceList, now: float) -> list[Action]:
        self._is_fetching, self._is_listed = False, True
        self._failures = 0
        replay, self._replay = self._replay, []
        hostnames = frozenset(event.service.hostname for event in self.known.replace(services.services))
        self._draft = Draft(self.known)
        return [Synced(), *_changed(hostnames), *self._follow(replay, now)]

    def _follow(self, replay: list[WatchEvent], now: float) -> list[Action]:
        """Bring a list that was just accepted together with the events that came while it was fetched."""
        if self.is_foreign:
            self._at_rest()
            return self._want_list(now) if replay else []
        if self._doubts and not replay:
            # A second list, and no event came to explain the difference: the list stands. So it is between two
            # replicas of the peer, when one serves the watch and the other the list.
            self._expected = None
        return self._settle(replay, now, doubts=self._doubts + 1)

    def _settle(self, events: list[WatchEvent], now: float, *, doubts: int = 0) -> list[Action]:
        """Try the events on the draft; know its content if the last one's checksum vouches for it, else ask again."""
        for event in events:
            self._draft.apply(event)
            self._expected = event.checksum
        if self._expected is None or self._draft.checksum == self._expected:
            self._at_rest()
            return _changed(self._draft.commit())
        self.mismatches += 1
        self._doubts = max(self._doubts, doubts)
        return self._want_list(now)

    def _at_rest(self) -> None:
        """Nothing is in doubt; only a peer without heartbeat is asked again in its turn."""
        self._doubts = 0
        if not self._is_fetching:
            self._fetch_at = None if self._heartbeat_s else self._asked_at + RESYNC_S

    def _reject_list(self, reason: str, now: float) -> list[Action]:
        self._is_fetching = False
        self._doubts += 1
        return [Rejected(reason), *self._want_list(now)]

    def _want_list(self, now: float) -> list[Action]:
        """Fetch the list, but leave a pause after the last time: what it lacks may be on its way already."""
        if self._is_fetching:
            return []
        moment = self._asked_at + _pause(max(self._doubts, self._failures))
        if moment <= now:
            return self._fetch(now)
        self._fetch_at = moment if self._fetch_at is None else min(self._fetch_at, moment)
        return []

    def _fetch(self, now: float) -> list[Action]:
        """A list asked for from now on contains every event that has come so far."""
        self._is_fetching = True
        self._fetch_at = None
        self._asked_at = now
        self._replay = []
        return [FetchList()]

    def _keep_for_replay(self, event: WatchEvent) -> None:
        # A peer that changes more while it answers gets its list fetched again: the checksum will not match.
        if len(self._replay) < MAX_REPLAYED:
            self._replay.append(event)


def _pause(count: int) -> float:
    """Seconds between two fetches when the last ``count`` settled nothing."""
    return min(RESYNC_S, FIRST_PAUSE_S * (1 << min(max(count - 1, 0), 16)))


def _changed(hostnames: frozenset[str]) -> list[Action]:
    return [Changed(hostnames)] if hostnames else []
