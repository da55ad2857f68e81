"""What is told of a link, and to whom: the listener and its tally, and the log with one line per change of state."""

from typing import Protocol

import structlog

from isthmus.discovery.errors import LinkError, OwnGatewayError
from isthmus.discovery.tally import Tally
from isthmus.federation.peer_view import Action, Changed, FetchList, Rejected, Synced
from isthmus.news import News

log = structlog.get_logger(__name__)


class PeerListener(Protocol):
    """The port of the client: who wants to know of the link. Every method is called in its loop and returns at once."""

    @property
    def tally(self) -> Tally:
        """Where it is counted what comes from the peer."""

    def watch_connected(self, *, clock_offset_s: float | None) -> None:
        """The watch is open; so far is the peer's clock ahead of ours, None if it did not say."""

    def clock_told(self, offset_s: float) -> None:
        """The peer has told its time again, while the watch stands: so far is it ahead of ours."""

    def watch_failed(self, cause: str, *, at_own_gateway: bool) -> None:
        """The watch ended, or could not be opened: an HTTP status line, or the cause in words.

        ``at_own_gateway``: no call has even left the mesh. Not told again for attempts that fail for the same cause as
        the one before.
        """

    def not_understood(self, reason: str) -> None:
        """The peer said something that is not used; what was known stays. Told once, until a list is accepted."""

    def got_event(self) -> None:
        """The peer told of a change."""

    def got_list(self) -> None:
        """The peer's list was fetched and accepted."""

    def services_changed(self, hostnames: frozenset[str]) -> None:
        """These exported hostnames are other services now, or new, or gone; see ``PeerClient.known``."""


class LinkReport:
    """Tells the listener and the log; leaves out what says nothing new."""

    def __init__(self, peer: str, listener: PeerListener) -> None:
        self._listener = listener
        self._log = log.bind(peer=peer)
        self._is_connected = False
        self._cause = ""
        self._news: News[str] = News()
        self._is_doubt_told = False
        self._is_list_asked = False
        self.certificate_ends: float | None = None
        """When the certificate ends that the peer has shown for the last watch that stood; None if it is not known."""

    def connected(self, heartbeat_s: float | None, clock_offset_s: float | None) -> None:
        """The watch is open; ``heartbeat_s`` is None for a peer that promises none."""
        self._is_connected, self._is_doubt_told, self._is_list_asked = True, False, False
        self._listener.tally.connects += 1
        self._news.settled("unreachable")
        self._log.info("peer connected", heartbeat_s=heartbeat_s)
        self._listener.watch_connected(clock_offset_s=clock_offset_s)

    def clock_told(self, offset_s: float | None) -> None:
        """The peer was asked for its time again; None if it did not say, and what it said before counts."""
        if offset_s is not None:
            self._listener.clock_told(offset_s)

    def failed(self, error: LinkError) -> None:
        """The watch ended, or an attempt to open it did not succeed."""
        cause = str(error)
        self._listener.tally.failures += 1
        is_new = self._news.is_new("unreachable", cause)
        if self._is_connected:
            self._log.info("peer disconnected", cause=cause)
        elif is_new:
            self._log.info("peer unreachable", cause=cause)
        if self._is_connected or cause != self._cause:
            self._listener.watch_failed(cause, at_own_gateway=isinstance(error, OwnGatewayError))
        self._is_connected, self._cause = False, cause

    def got_event(self) -> None:
        """The peer told of a change, whatever became of it."""
        self._listener.tally.events_received += 1
        self._listener.got_event()

    def received(self, size: int) -> None:
        """So many bytes came from the peer."""
        self._listener.tally.bytes_received += size

    def list_failed(self, cause: str) -> None:
        """A list could not be fetched, though the watch is open."""
        self._tell_doubt(f"the service list could not be fetched: {cause}")

    def decided(self, action: Action) -> None:
        """What came of something that the peer said."""
        match action:
            case Synced():
                self._is_doubt_told = False
                self._listener.tally.lists_received += 1
                self._listener.got_list()
            case Changed(hostnames):
                self._listener.services_changed(hostnames)
            case Rejected(reason):
                self._tell_doubt(reason)
                self._listener.not_understood(reason)
            case FetchList():
                self._listener.tally.resyncs += self._is_list_asked
                self._is_list_asked = True
            case _:
                pass  # for the link itself

    def _tell_doubt(self, reason: str) -> None:
        # Once, until a list has been accepted: a peer that talks nonsense does so line after line.
        if not self._is_doubt_told:
            self._log.info("peer not understood, what was known of it is kept", reason=reason)
        self._is_doubt_told = True
