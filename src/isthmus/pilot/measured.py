"""What is measured of the control plane: a table of metrics, each with its meaning and where it is read.

Functions of the live parts: they read, count and give numbers, and keep none. Each is asked once a scrape; a metric has
one series for a peer, a gateway, a kind or a queue, never for a service. docs/observability.md describes each.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from isthmus import __version__
from isthmus.discovery import ExportFeed, Tally
from isthmus.federation.availability import Availability, is_ready
from isthmus.federation.peer import Mesh
from isthmus.identity import Authority, fingerprint
from isthmus.kube import Store, WorkQueue
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.names_server import ImportNames
from isthmus.pilot.status import StatusWriter
from isthmus.pilot.trust import OwnIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The live parts that metrics are read from."""

    mesh: Mesh
    authority: Authority
    identity: OwnIdentity
    links: Mapping[str, Link]
    feeds: Mapping[str, ExportFeed]
    gateways: Gateways
    leadership: Leadership
    status: StatusWriter
    names: ImportNames
    stores: Mapping[str, Store[Any]]
    """By kind."""
    queues: Sequence[WorkQueue[Any]]


Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and the number."""
Family = GaugeMetricFamily | CounterMetricFamily


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric; ``kind`` gives a counter the suffix ``_total``."""

    kind: Callable[..., Family]
    name: str
    meaning: str
    labels: tuple[str, ...]
    samples: Callable[[Observed], Iterable[Sample]]

    def family(self, observed: Observed) -> Family:
        """The metric with its series as they are now."""
        family = self.kind(self.name, self.meaning, labels=self.labels)
        for labels, value in self.samples(observed):
            family.add_metric(labels, value)
        return family


def _gauge(name: str, meaning: str, labels: str, samples: Callable[[Observed], Iterable[Sample]]) -> Measured:
    return Measured(GaugeMetricFamily, f"isthmus_{name}", meaning, tuple(labels.split()), samples)


def _counter(name: str, meaning: str, labels: str, samples: Callable[[Observed], Iterable[Sample]]) -> Measured:
    return Measured(CounterMetricFamily, f"isthmus_{name}", meaning, tuple(labels.split()), samples)


def _of_links(name: str, meaning: str, value: Callable[[Link], float | None]) -> Measured:
    """A gauge for each peer; None for a peer of which there is nothing to tell yet."""

    def samples(observed: Observed) -> Iterator[Sample]:
        for peer, link in observed.links.items():
            number = value(link)
            if number is not None:
                yield (peer,), number

    return _gauge(name, meaning, "peer", samples)


def _tallied(name: str, meaning: str, count: Callable[[Tally], int]) -> Measured:
    def samples(observed: Observed) -> Iterator[Sample]:
        return (((peer,), count(link.tally)) for peer, link in observed.links.items())

    return _counter(f"discovery_{name}", meaning, "peer", samples)


def _mapped(numbers: Mapping[str, float]) -> Iterator[Sample]:
    return (((key,), number) for key, number in sorted(numbers.items()))


def _build(observed: Observed) -> Iterator[Sample]:
    yield (__version__, observed.mesh.name, str(observed.mesh.trust_domain)), 1


def _certificates(observed: Observed) -> Iterator[Sample]:
    def expiry(kind: str, peer: str, certificate: x509.Certificate) -> Sample:
        return (kind, peer, fingerprint(certificate)), certificate.not_valid_after_utc.timestamp()

    yield expiry("ca", "", observed.authority.certificate)
    yield from (expiry("root", "", root) for root in observed.mesh.bundle.roots)
    yield expiry("pilot", "", observed.identity.current().leaf)
    for peer, link in observed.links.items():
        roots = link.config.remote.bundle.roots if link.config is not None else ()
        yield from (expiry("peer_root", peer, root) for root in roots)
        seen = link.client.certificate_ends if link.client is not None else None
        if seen is not None and seen > time.time():  # else the peer has another by now, that we have not seen
            yield ("peer", peer, ""), seen


def _imports(observed: Observed) -> Iterator[Sample]:
    """Each import once, in the state that its callers meet."""
    for peer, link in observed.links.items():
        imports = link.imports.imports.values()
        ready = sum(
            is_ready(health=each.service.health, state=link.availability, policy=link.policy, is_local_ready=False)
            for each in imports
        )
        is_current = link.availability is Availability.CURRENT
        yield (peer, "ready"), ready if is_current else 0
        yield (peer, "stale"), 0 if is_current else ready
        yield (peer, "not_ready"), len(imports) - ready


def _mismatches(observed: Observed) -> Iterator[Sample]:
    for peer, link in observed.links.items():
        yield (peer,), link.client.mismatches if link.client is not None else 0


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


MEASURED: tuple[Measured, ...] = (
    _gauge("build_info", "1; which version this is, and of which mesh.", "version mesh trust_domain", _build),
    _gauge(
        "leader",
        "1 if this replica writes what all of them share, else 0.",
        "",
        lambda observed: [((), observed.leadership.is_leading)],
    ),
    _of_links("peer_accepted", "1 if the ServiceMeshPeer can be used, else 0.", lambda link: link.config is not None),
    _of_links(
        "link_watch_up", "1 while our watch of the peer stands, else 0.", lambda link: link.entry.watch.connected
    ),
    _of_links(
        "link_remotes",
        "Control-plane pods of the peer that watch this one.",
        lambda link: sum(remote.connected for remote in link.entry.remotes),
    ),
    _of_links(
        "link_last_sync_timestamp_seconds",
        "When the peer's whole list was last accepted.",
        lambda link: _timestamp(link.entry.watch.last_full_sync),
    ),
    _of_links(
        "link_last_event_timestamp_seconds",
        "When the peer last told of a change.",
        lambda link: _timestamp(link.entry.watch.last_event),
    ),
    _of_links(
        "link_away_since_timestamp_seconds",
        "Since when the peer cannot be reached; absent while it can.",
        lambda link: _timestamp(link.absence.since),
    ),
    _tallied("connects", "Watches of the peer that were opened.", lambda tally: tally.connects),
    _tallied("failures", "Watches of the peer that ended or could not be opened.", lambda tally: tally.failures),
    _tallied("events_received", "Changes that the peer told of.", lambda tally: tally.events_received),
    _tallied("events_sent", "Changes that the peer was told of.", lambda tally: tally.events_sent),
    _tallied("lists_received", "Lists of the peer that were accepted.", lambda tally: tally.lists_received),
    _tallied("lists_sent", "Lists that the peer has fetched.", lambda tally: tally.lists_sent),
    _tallied("resyncs", "Lists asked for again while the watch stood.", lambda tally: tally.resyncs),
    _tallied("received_bytes", "Bytes of lists and events from the peer.", lambda tally: tally.bytes_received),
    _tallied("sent_bytes", "Bytes of lists and events to the peer.", lambda tally: tally.bytes_sent),
    _counter(
        "discovery_mismatches",
        "Lists and events whose checksum was not that of their content; starts anew with the peer's description.",
        "peer",
        _mismatches,
    ),
    _gauge(
        "exported_services",
        "Services that are exported to the peer.",
        "peer",
        lambda observed: _mapped({peer: len(feed) for peer, feed in observed.feeds.items()}),
    ),
    _of_links("offered_services", "Services that the peer exports to us.", lambda link: len(link.known)),
    _gauge("imported_services", "Services that are imported from the peer, by state.", "peer state", _imports),
    _gauge(
        "certificate_expiry_timestamp_seconds",
        "When a certificate ends: ca, root (of this mesh), pilot (its own), peer_root, peer (as last seen).",
        "kind peer fingerprint",
        _certificates,
    ),
    _gauge(
        "gateway_streams",
        "Streams of configuration that pods of the gateway have open.",
        "gateway",
        lambda observed: _mapped(observed.gateways.streams),
    ),
    _gauge(
        "gateway_rejects",
        "1 while a pod of the gateway refuses its configuration, else 0.",
        "gateway",
        lambda observed: _mapped({name: bool(observed.gateways.rejection(name)) for name in observed.gateways.streams}),
    ),
    _gauge(
        "kube_objects",
        "Objects of the kind that are known.",
        "kind",
        lambda observed: _mapped({kind: len(store) for kind, store in observed.stores.items()}),
    ),
    _gauge(
        "kube_watch_up",
        "1 while the Kubernetes API can be followed for the kind, else 0: what is known of it may be old.",
        "kind",
        lambda observed: _mapped({kind: store.stale_since is None for kind, store in observed.stores.items()}),
    ),
    _gauge(
        "work_queue_depth",
        "Keys that wait for their turn.",
        "queue",
        lambda observed: _mapped({queue.name: len(queue) for queue in observed.queues}),
    ),
    _counter(
        "work_queue_attempts",
        "Reconciliations that were begun.",
        "queue",
        lambda observed: _mapped({queue.name: queue.attempts for queue in observed.queues}),
    ),
    _counter(
        "work_queue_retries",
        "Reconciliations that failed and are tried again.",
        "queue",
        lambda observed: _mapped({queue.name: queue.retries for queue in observed.queues}),
    ),
    _counter("status_writes", "Writes of status.", "kind", lambda observed: _mapped(dict(observed.status.writes))),
    _counter(
        "dns_answers", "Queries for names that were answered.", "code", lambda observed: _mapped(observed.names.answers)
    ),
)
