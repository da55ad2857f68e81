"""The importer's state machine: what a peer says becomes known only when a checksum vouches for it."""

from collections import deque
from collections.abc import Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.federation.strategies import HOSTNAMES, service_lists, services

from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import Health, ServiceList, ServiceMessage, WatchEvent
from isthmus.federation.peer_view import (
    LONGEST_DELAY_S,
    RESYNC_S,
    Action,
    Changed,
    Disconnect,
    FetchList,
    PeerView,
    Reconnect,
    Rejected,
    Synced,
    reconnect_delay,
)

A, B, C = (ServiceMessage(name=name, hostname=name) for name in "abc")


def _list(*messages: ServiceMessage) -> ServiceList:
    return Catalogue(messages).as_list()


def _foreign(*messages: ServiceMessage) -> ServiceList:
    """A list with a checksum that is not its own, as 2.1 and 2.2 send it."""
    return msgspec.structs.replace(_list(*messages), checksum=7)


def _add(service: ServiceMessage, *others: ServiceMessage) -> WatchEvent:
    return WatchEvent("add", service, Catalogue([*others, service]).checksum)


def _delete(service: ServiceMessage, *others: ServiceMessage) -> WatchEvent:
    return WatchEvent("delete", service, Catalogue(others).checksum)


def _linked(*known: ServiceMessage, heartbeat_s: float | None = 15) -> PeerView:
    """A view of a peer that has exported ``known``, at second 0."""
    view = PeerView()
    assert view.connected(0, heartbeat_s=heartbeat_s) == [FetchList()]
    view.list_received(_list(*known), 0)
    return view


def _hostnames(view: PeerView) -> list[str]:
    return [service.hostname for service in view.known.as_list().services]


def _wait_for_fetch(view: PeerView, now: float) -> float:
    """Let time pass, with heartbeats, until the list is fetched; when that is."""
    while True:
        view.heartbeat(now)
        assert view.deadline is not None
        now = view.deadline
        view.heartbeat(now)
        if view.tick(now) == [FetchList()]:
            return now


def _fetches(actions: Iterable[Action]) -> int:
    return sum(isinstance(action, FetchList) for action in actions)


class TestFollowing:
    """The watch, the list, the events."""

    def test_the_list_is_fetched_when_the_watch_is_open(self) -> None:
        """§2: a client opens the watch, then gets the list."""
        view = PeerView()
        assert view.connected(0, heartbeat_s=15) == [FetchList()]
        assert view.list_received(_list(A, B), 1) == [Synced(), Changed(frozenset("ab"))]

    def test_an_event_is_applied_without_a_list(self) -> None:
        """Events are applied as they come: add, update, delete."""
        view = _linked(A)
        assert view.event(_add(B, A), 1) == [Changed(frozenset("b"))]
        renamed = msgspec.structs.replace(B, name="x")
        assert view.event(WatchEvent("update", renamed, Catalogue([A, renamed]).checksum), 1) == [
            Changed(frozenset("b"))
        ]
        assert view.event(_delete(A, renamed), 1) == [Changed(frozenset("a"))]
        assert list(view.known) == [renamed]

    def test_an_add_of_a_known_hostname_is_an_update(self) -> None:
        """The word of the action does not matter, the service does."""
        view = _linked(A)
        renamed = msgspec.structs.replace(A, name="x")
        assert view.event(_add(renamed), 1) == [Changed(frozenset("a"))]

    def test_a_delete_of_an_unknown_service_changes_nothing(self) -> None:
        """A delete of an unknown service is no change if its checksum agrees …"""
        view = _linked(A)
        assert view.event(_delete(B, A), 1) == []
        assert _hostnames(view) == ["a"]

    def test_the_checksum_of_a_delete_is_verified_all_the_same(self) -> None:
        """… and a reason to fetch the list if it does not."""
        assert _linked(A).event(_delete(B, A, C), 1) == [FetchList()]

    def test_health_is_followed_though_it_has_no_share_in_the_checksum(self) -> None:
        """An update that changes only the health is told."""
        view = _linked(A)
        ill = msgspec.structs.replace(A, health=Health(0, 2))
        assert view.event(WatchEvent("update", ill, Catalogue([A]).checksum), 1) == [Changed(frozenset("a"))]
        assert view.known.get("a") == ill

    def test_a_list_tells_only_what_changed(self) -> None:
        """After a reconnect, the services that are as before are not news."""
        view = _linked(A, B)
        view.disconnected(1, jitter=0)
        view.connected(2, heartbeat_s=15)
        assert view.list_received(_list(B, C), 2) == [Synced(), Changed(frozenset("ac"))]

    def test_what_a_former_process_knew_is_known(self) -> None:
        """A seed stands until the peer's list says otherwise."""
        view = PeerView([A, B])
        assert _hostnames(view) == ["a", "b"]
        view.connected(0)
        assert view.list_received(_list(A, B), 0) == [Synced()]


class TestDoubt:
    """What cannot be vouched for."""

    def test_a_mismatch_keeps_what_was_known_and_fetches_one_list(self) -> None:
        """An event with a wrong checksum replaces nothing; the list is fetched, once."""
        view = _linked(A)
        assert view.event(WatchEvent("add", B, 1), 1) == [FetchList()]
        assert view.event(WatchEvent("add", C, 2), 1) == []
        assert _hostnames(view) == ["a"]
        assert view.mismatches == 2

    def test_a_line_that_is_no_event_fetches_the_list(self) -> None:
        """An event that cannot be parsed is told, and the list is fetched."""
        view = _linked(A)
        assert view.event_rejected("not JSON", 1) == [Rejected("not JSON"), FetchList()]
        assert view.list_received(_list(A, B), 1) == [Synced(), Changed(frozenset("b"))]

    def test_a_list_with_a_wrong_checksum_is_not_used(self) -> None:
        """A list of an Isthmus that does not match its checksum replaces nothing, however often it comes."""
        view = _linked(A)
        view.event_rejected("x", 1)
        now = 1.0
        for _ in range(20):
            actions = view.list_received(_foreign(B), now)
            assert isinstance(actions[0], Rejected)
            assert _fetches(actions) == 0
            now = _wait_for_fetch(view, now)
        assert _hostnames(view) == ["a"]
        assert now > 10 * RESYNC_S

    def test_a_list_that_cannot_be_read_is_not_used(self) -> None:
        """The peer's answer was no list: what was known stays, and the next attempt is after a pause."""
        view = _linked(A)
        view.event_rejected("x", 1)
        assert view.list_rejected("not JSON", 1) == [Rejected("not JSON")]
        assert (_hostnames(view), view.deadline) == (["a"], 2)

    def test_an_event_that_matches_again_ends_the_doubt(self) -> None:
        """Two events out of which only the second can be verified bring both."""
        view = _linked(A)
        assert view.event(WatchEvent("add", B, 1), 1) == [FetchList()]
        assert view.event(_add(C, A, B), 1) == [Changed(frozenset("bc"))]

    def test_the_list_stands_if_no_event_explains_the_difference(self) -> None:
        """A last event that no list ever agrees with does not make the list be fetched for ever."""
        view = _linked(A)
        assert view.event(WatchEvent("add", B, 1), 1) == [FetchList()]
        assert view.list_received(_list(A), 1) == [Synced()]
        assert (view.tick(1.9), view.tick(2)) == ([], [FetchList()])
        assert view.list_received(_list(A), 2) == [Synced()]
        assert (_hostnames(view), view.tick(16)) == (["a"], [])

    def test_a_service_too_many_is_refused(self) -> None:
        """A peer cannot make us hold services without end."""
        view = PeerView(max_services=2)
        view.connected(0)
        view.list_received(_list(A, B), 0)
        assert view.event(_add(C, A, B), 1) == [Rejected("the peer exports more than 2 services")]


class TestRaces:
    """Events and lists that overtake each other."""

    def test_an_event_before_the_first_list_waits_for_it(self) -> None:
        """An event that the list does not contain yet is applied after it."""
        view = PeerView()
        view.connected(0, heartbeat_s=15)
        assert view.event(_add(B, A), 1) == []
        assert view.list_received(_list(A), 1) == [Synced(), Changed(frozenset("a")), Changed(frozenset("b"))]

    def test_an_event_that_the_list_contains_already_changes_nothing(self) -> None:
        """A list newer than the event is not undone by it."""
        view = PeerView()
        view.connected(0, heartbeat_s=15)
        assert view.event(_add(B, A), 1) == []
        assert view.list_received(_list(A, B), 1) == [Synced(), Changed(frozenset("ab"))]

    def test_events_that_come_after_a_newer_list_need_no_second_list(self) -> None:
        """The list has the result of three events still on their way: once they are here, all agrees again."""
        view = _linked(A, C)
        actions = [action for event in (_add(B, A), _add(C, A, B), _delete(B, A, C)) for action in view.event(event, 0)]
        assert _fetches(actions) == 0
        assert (_hostnames(view), view.tick(2)) == (["a", "c"], [])


class TestOldPeers:
    """Peers without heartbeat, and those that hash differently."""

    def test_their_list_is_fetched_every_minute(self) -> None:
        """§2: without heartbeat, only the list tells whether the watch still lives."""
        view = _linked(A, heartbeat_s=None)
        assert (view.deadline, view.tick(59.9), view.tick(60)) == (60, [], [FetchList()])
        view.list_received(_list(A), 60.5)
        assert (view.tick(119.9), view.tick(120)) == ([], [FetchList()])

    def test_they_are_disconnected_when_the_list_cannot_be_had(self) -> None:
        """A black hole behind an old peer is noticed by its lists."""
        view = _linked(A, heartbeat_s=None)
        assert view.tick(60) == [FetchList()]
        assert (view.list_failed(70), view.tick(71)) == ([], [FetchList()])
        assert (view.list_failed(81), view.tick(83)) == ([], [FetchList()])
        assert view.list_failed(93) == [Disconnect("the service list could not be fetched 3 times in a row")]
        assert _hostnames(view) == ["a"]

    def test_a_foreign_checksum_is_believed_the_second_time(self) -> None:
        """2.1 and 2.2: the first list that does not match is fetched again, the second is believed."""
        view = PeerView()
        view.connected(0)
        assert isinstance(view.list_received(_foreign(A), 0)[0], Rejected)
        assert (_hostnames(view), view.tick(1)) == ([], [FetchList()])
        assert view.list_received(_foreign(A), 1) == [Synced(), Changed(frozenset("a"))]
        assert view.is_foreign

    def test_each_event_of_a_foreign_peer_fetches_the_list(self) -> None:
        """Nothing vouches for a foreign peer's events: the list does, one for many that come at once."""
        view = PeerView()
        view.connected(0)
        view.list_received(_foreign(A), 0)
        view.tick(1)
        view.list_received(_foreign(A), 1)
        assert view.event(WatchEvent("add", B, 7), 10) == [FetchList()]
        assert view.event(WatchEvent("add", C, 7), 10.1) == []
        assert view.list_received(_foreign(A, B), 10.2) == [Synced(), Changed(frozenset("b"))]
        assert (view.tick(10.9), view.tick(11)) == ([], [FetchList()])

    def test_a_peer_that_was_upgraded_is_foreign_no_longer(self) -> None:
        """A list that matches, or a heartbeat, ends it."""
        view = PeerView()
        view.connected(0)
        view.list_received(_foreign(A), 0)
        view.tick(1)
        view.list_received(_foreign(A), 1)
        view.tick(61)
        view.list_received(_list(A), 61)
        assert not view.is_foreign


class TestLink:
    """Heartbeats, disconnects and reconnects."""

    def test_three_missed_heartbeats_disconnect(self) -> None:
        """What Isthmus adds: a client gives a link up after three missed beats."""
        view = _linked(A)
        view.heartbeat(15)
        assert (view.deadline, view.tick(59.9)) == (60, [])
        assert view.tick(60) == [Disconnect("no heartbeat from the peer for 45 s")]

    def test_events_are_signs_of_life(self) -> None:
        """An event, even one that cannot be read, is as good as a heartbeat."""
        view = _linked(A)
        view.event(_add(B, A), 40)
        assert view.tick(84) == []
        view.event_rejected("x", 84)
        assert view.tick(128) == []

    def test_a_disconnect_takes_nothing_down(self) -> None:
        """A peer that is gone leaves what was imported as it was last known."""
        view = _linked(A, B)
        assert view.disconnected(100, jitter=0) == Reconnect(0)
        assert (_hostnames(view), view.is_connected, view.deadline) == (["a", "b"], False, None)

    def test_the_first_reconnect_is_immediate_and_the_others_are_not(self) -> None:
        """Attempts in a row wait longer and longer; a connection that lasted starts over."""
        view = _linked()
        delays = [view.disconnected(0, jitter=0) for _ in range(4)]
        assert delays == [Reconnect(0), Reconnect(0.05), Reconnect(0.1), Reconnect(0.2)]
        view.connected(10)
        assert view.disconnected(11, jitter=0) == Reconnect(0.4)
        view.connected(20)
        assert view.disconnected(25, jitter=0) == Reconnect(0)

    @given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
    def test_delays_are_bounded(self, attempt: int, jitter: float) -> None:
        """However long a peer is away, it is tried every few seconds, and never in a hot loop."""
        assert 0.05 <= reconnect_delay(attempt, jitter=jitter) <= LONGEST_DELAY_S


@given(st.data(), service_lists)
@settings(max_examples=200)
def test_the_last_list_decides(data: st.DataObject, last: list[ServiceMessage]) -> None:
    """Any sequence of events, true and false, and lists gives the same catalogue as the last list alone."""
    view = PeerView(data.draw(service_lists))
    view.connected(0, heartbeat_s=data.draw(st.none() | st.just(15.0)))
    wild = st.builds(WatchEvent, st.sampled_from(["add", "update", "delete"]), services(), st.integers(0, 9))
    for message in data.draw(st.lists(wild | service_lists | st.none())):
        match message:
            case None:
                view.event_rejected("x", 0)
            case WatchEvent():
                view.event(message, 0)
            case _:
                view.list_received(Catalogue(message).as_list(), 0)
    view.disconnected(1, jitter=0)
    view.connected(1, heartbeat_s=15)
    view.list_received(Catalogue(last).as_list(), 1)
    assert view.known.as_list() == Catalogue(last).as_list()


class Peers(RuleBasedStateMachine):
    """An exporter, an importer, and a network that delays events and lists as it likes, but keeps their order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.exporter = Catalogue()
        self.under_way: deque[WatchEvent] = deque()
        self.list: ServiceList | None = None
        self.wants_list = False
        self.view = PeerView()
        self.lists = 0
        self._do(self.view.connected(0, heartbeat_s=15))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            assert not isinstance(action, (Rejected, Disconnect))
            if isinstance(action, FetchList):
                assert not self.wants_list, "one list at a time"
                self.wants_list, self.list = True, None

    @rule(service=services(), is_delete=st.booleans())
    def change(self, service: ServiceMessage, is_delete: bool) -> None:
        event = self.exporter.remove(service.hostname) if is_delete else self.exporter.put(service)
        if event:
            self.under_way.append(event)

    @precondition(lambda self: self.under_way)
    @rule(duration=st.floats(0, 3))
    def deliver_event(self, duration: float) -> None:
        self.now += duration
        self._do(self.view.event(self.under_way.popleft(), self.now))

    @precondition(lambda self: self.wants_list and self.list is None)
    @rule()
    def answer(self) -> None:
        self.list = self.exporter.as_list()

    @precondition(lambda self: self.list is not None)
    @rule()
    def deliver_list(self) -> None:
        assert self.list is not None
        services, self.list, self.wants_list = self.list, None, False
        self.lists += 1
        self._do(self.view.list_received(services, self.now))

    @precondition(lambda self: self.view.deadline is not None)
    @rule()
    def wait(self) -> None:
        self.view.heartbeat(self.now)
        assert self.view.deadline is not None
        self.now = max(self.now, self.view.deadline)
        self.view.heartbeat(self.now)
        self._do(self.view.tick(self.now))

    @invariant()
    def hosts_are_the_exporters(self) -> None:
        assert all(service.hostname in HOSTNAMES for service in self.view.known)

    def teardown(self) -> None:
        """When all is delivered, the importer knows what the exporter exports, after two more lists at most."""
        while self.under_way:
            self.deliver_event(0)
        lists = self.lists
        for _ in range(4):
            if self.wants_list:
                self.answer()
                self.deliver_list()
            elif self.view.deadline is not None:
                self.wait()
        assert not self.wants_list
        assert self.lists - lists <= 2
        assert self.view.known.as_list() == self.exporter.as_list()


Peers.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestPeers = Peers.TestCase
