"""One peer while it exists: what is told of the link, and which imports are others when."""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.envoy import plans

from isthmus.api.imports import ImportedServiceSet
from isthmus.discovery import ExportFeed
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.status import DiscoveryStatus, to_json
from isthmus.pilot.link import Link

RATINGS = ServiceMessage(name="ratings", namespace="bookinfo", hostname="ratings.bookinfo.svc.red-mesh-exports.local")
DETAILS = ServiceMessage(name="details", namespace="bookinfo", hostname="details.bookinfo.svc.red-mesh-exports.local")


class Told:
    """Who hears of the link."""

    def __init__(self) -> None:
        self.feed = ExportFeed()
        self.statuses = 0
        self.imports: list[frozenset[str] | None] = []
        self.link = Link(
            "green-mesh",
            pod="istiod-red-mesh-0",
            trust_bundle=plans.bundle("red"),
            feed=lambda: self.feed,
            status_changed=self._status_changed,
            imports_changed=self.imports.append,
        )

    def _status_changed(self) -> None:
        self.statuses += 1


@pytest.fixture
def told() -> Told:
    """A new link."""
    return Told()


def import_rules(name: str = "") -> ImportRules:
    """Import the services of that name, or all."""
    rule = {"type": "NameSelector", "nameSelector": {"name": name}}
    document = {"metadata": {"name": "green-mesh"}, "spec": {"importRules": [rule]}}
    imports = msgspec.convert(document, ImportedServiceSet)
    return ImportRules.of(imports, peer="green-mesh", cluster_domain="cluster.local")


def test_a_new_link_is_inactive(told: Told) -> None:
    """Before anything has happened the pod says that it is not connected, and nothing else."""
    assert to_json_entry(told.link) == {"pod": "istiod-red-mesh-0", "watch": {"connected": False}}
    assert not told.link.is_synced
    assert told.link.client_id is None


def to_json_entry(link: Link) -> dict[str, object]:
    """The entry as it stands in the status."""
    status = to_json(DiscoveryStatus.of([link.entry]))
    entries: list[dict[str, object]] = status["active"] + status["inactive"]
    return entries[0]


def test_the_watch_is_told_of(told: Told) -> None:
    """Connected, an event, a list, lost: each shows in the entry, and each is told."""
    link = told.link
    before = datetime.now(UTC).replace(microsecond=0)
    link.watch_connected()
    link.got_event()
    link.got_list()
    assert link.is_synced
    watch = link.entry.watch
    assert watch.connected
    times = [watch.last_connected, watch.last_event, watch.last_full_sync]
    assert all(time is not None and before <= time <= datetime.now(UTC) for time in times)
    link.watch_failed("503 Service Unavailable")
    assert not link.entry.watch.connected
    assert link.entry.watch.last_disconnect_status == "503 Service Unavailable"
    assert told.statuses == 4


def test_remotes_are_told_of_by_where_they_come_from(told: Told) -> None:
    """Each of the peer's pods has an entry; one that goes stays for a while, as disconnected."""
    for source in ("192.0.2.2", "192.0.2.1"):
        told.link.remote_connected(source)
        told.link.remote_got_list(source)
    told.link.remote_got_event("192.0.2.1")
    told.link.remote_disconnected("192.0.2.2")
    first, second = told.link.pruned_entry().remotes
    assert (first.source, first.connected, first.last_event is not None) == ("192.0.2.1", True, True)
    assert (second.source, second.connected, second.last_disconnect is not None) == ("192.0.2.2", False, True)


def test_what_was_known_before_is_known_at_once(told: Told) -> None:
    """Services of an earlier process are imported as soon as there are rules, without a peer."""
    told.link.remember([RATINGS, DETAILS])
    assert told.link.imports.imports == {}
    assert told.link.imports.configure(import_rules("ratings")) == {RATINGS.hostname}
    assert RATINGS.hostname in told.link.known
    assert not told.link.is_synced


def test_only_imports_that_are_others_are_told(told: Told) -> None:
    """A change of a service that no rule imports does not concern imports; one that is gone does."""
    told.link.imports.configure(import_rules("ratings"))
    told.link._remembered = Catalogue([RATINGS, DETAILS])
    told.link.services_changed(frozenset({RATINGS.hostname, DETAILS.hostname}))
    told.link.services_changed(frozenset({RATINGS.hostname, DETAILS.hostname}))
    told.link._remembered = Catalogue([DETAILS])
    told.link.services_changed(frozenset({RATINGS.hostname}))
    assert told.imports == [{RATINGS.hostname}, frozenset(), {RATINGS.hostname}]


def test_the_whole_list_is_told_as_such(told: Told) -> None:
    """When the list is here, what is stored and not in it is superfluous: who keeps imports has to look at all."""
    told.link.got_list()
    assert told.imports == [None]


def test_the_peers_administrator_sees_our_side(told: Told) -> None:
    """The view of the link names what is exported, and why our watch does not stand; nothing when it does."""
    told.feed.put(RATINGS)
    told.link.watch_failed("no route to host")
    view = told.link.view()
    assert (view.peer, view.exports, view.last_error) == ("green-mesh", 1, "no route to host")
    told.link.watch_connected()
    assert told.link.view().last_error == ""
