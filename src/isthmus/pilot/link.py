"""One peer while it exists: how the link fares in both directions, and what is imported over it.

Hears of the watch from the discovery client (``PeerListener``) and of the peer's watches from the discovery server
(``ExportedLink``); keeps this pod's entry in the peer's status.
"""

from collections.abc import Callable, Iterable

import structlog

from isthmus.clock import CLOCK
from isthmus.discovery import ExportFeed, PeerClient, Tally
from isthmus.federation.availability import Availability, ImportPolicy
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.import_table import ImportTable
from isthmus.federation.messages import LinkView, ServiceMessage
from isthmus.federation.peer import PeerConfig
from isthmus.federation.selection import Problem
from isthmus.federation.status import PodDiscoveryStatus, RemoteStatus, WatchStatus
from isthmus.identity import SpiffeId, TrustBundle
from isthmus.pilot.absence import Absence
from isthmus.pilot.evidence import Evidence

log = structlog.get_logger(__name__)


class Link:
    """The link to one peer. ``config`` is None while its resource cannot be used."""

    def __init__(
        self,
        peer: str,
        *,
        pod: str,
        trust_bundle: TrustBundle,
        feed: Callable[[], ExportFeed],
        status_changed: Callable[[], None],
        imports_changed: Callable[[frozenset[str] | None], None],
    ) -> None:
        """``feed`` gives what is exported to the peer now; ``imports_changed`` hears which imports are others (exported
        host names), or None when the peer's whole list is here."""
        self.peer = peer
        self.config: PeerConfig | None = None
        self.refusal: Problem | None = None
        """Why its resource cannot be used."""
        self.absence = Absence()
        self.policy = ImportPolicy()
        self.availability = Availability.CURRENT
        self.client: PeerClient | None = None
        self.imports = ImportTable(peer)
        self.tally = Tally()
        self.evidence = Evidence(changed_at=CLOCK.monotonic_s())
        self.entry = PodDiscoveryStatus.of(pod)
        self.is_synced = False
        """Whether a list of the peer was seen since this process began: before, what is missing may just be unknown."""
        self._remembered = Catalogue()
        self._trust_bundle = trust_bundle
        self._feed = feed
        self._status_changed = status_changed
        self._imports_changed = imports_changed

    @property
    def known(self) -> Catalogue:
        """What the peer exports, as last known."""
        return self.client.known if self.client is not None else self._remembered

    def remember(self, services: Iterable[ServiceMessage]) -> None:
        """Take up what an earlier process knew."""
        self._remembered = Catalogue(services)
        for service in self._remembered:
            self.imports.offer(service.hostname, service)

    def watch_connected(self, *, clock_offset_s: float | None = None) -> None:
        self.absence.ends()
        self.evidence.connected(CLOCK, clock_offset_s)
        self._watch(self.entry.watch.succeeded(CLOCK.now()))

    def clock_told(self, offset_s: float) -> None:
        self.evidence.clock_told(CLOCK, offset_s)
        self._status_changed()

    def watch_failed(self, cause: str, *, at_own_gateway: bool = False) -> None:
        self.absence.begins()
        self.evidence.failed(CLOCK.monotonic_s(), cause, at_own_gateway=at_own_gateway)
        self._watch(self.entry.watch.failed(CLOCK.now(), cause=cause))

    def not_understood(self, reason: str) -> None:
        self.evidence.doubt = reason
        self._status_changed()

    def got_event(self) -> None:
        self._watch(self.entry.watch.got_event(CLOCK.now()))

    def got_list(self) -> None:
        self.is_synced = True
        self.evidence.listed()
        self._watch(self.entry.watch.got_list(CLOCK.now()))
        self._imports_changed(None)

    def services_changed(self, hostnames: frozenset[str]) -> None:
        known = self.known
        self._imports_changed(frozenset(host for host in hostnames if self.imports.offer(host, known.get(host))))

    @property
    def feed(self) -> ExportFeed:
        return self._feed()

    @property
    def trust_bundle(self) -> TrustBundle:
        return self._trust_bundle

    @property
    def client_id(self) -> SpiffeId | None:
        """The one identity that may speak for the peer."""
        return self.config.client if self.config is not None else None

    def view(self) -> LinkView:
        return LinkView(
            peer=self.peer,
            client_id=str(self.client_id or ""),
            sources=self.feed.sources,
            exports=len(self.feed),
            last_error=self.entry.watch.last_disconnect_status if not self.entry.watch.connected else "",
            knows=len(self.known) if self.is_synced else None,
            imports=len(self.imports.imports) if self.is_synced else None,
        )

    def remote_connected(self, source: str) -> None:
        log.info("remote connected", peer=self.peer, source=source)
        if self.client is not None:
            self.client.nudge()  # the peer reaches us: most likely we reach it too
        self._remote(self.entry.remote(source).succeeded(CLOCK.now()))

    def remote_got_event(self, source: str) -> None:
        self._remote(self.entry.remote(source).got_event(CLOCK.now()))

    def remote_got_list(self, source: str) -> None:
        self._remote(self.entry.remote(source).got_list(CLOCK.now()))

    def remote_disconnected(self, source: str) -> None:
        log.info("remote disconnected", peer=self.peer, source=source)
        self.evidence.remote_left(CLOCK.monotonic_s())
        self._remote(self.entry.remote(source).failed(CLOCK.now()))

    def pruned_entry(self) -> PodDiscoveryStatus:
        """This pod's entry without remotes that have been away for long."""
        self.entry = self.entry.pruned(CLOCK.now())
        return self.entry

    def _watch(self, watch: WatchStatus) -> None:
        self.entry = self.entry.with_watch(watch)
        self._status_changed()

    def _remote(self, remote: RemoteStatus) -> None:
        self.entry = self.entry.with_remote(remote)
        self._status_changed()
