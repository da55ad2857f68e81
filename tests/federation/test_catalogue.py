"""The catalogue is what its events say, and its running checksum is that of its list."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.federation.strategies import HOSTNAMES, service_lists, services

from isthmus.federation.catalogue import Catalogue, Draft
from isthmus.federation.checksum import list_checksum, service_hash
from isthmus.federation.messages import ServiceMessage, WatchEvent


def _obvious_checksum(messages: dict[str, ServiceMessage]) -> int:
    xor = 0
    for message in messages.values():
        xor ^= service_hash(message)
    return list_checksum(xor)


def _apply(event: WatchEvent, model: dict[str, ServiceMessage]) -> None:
    if event.action == "delete":
        del model[event.service.hostname]
    else:
        assert (event.action == "update") == (event.service.hostname in model)
        model[event.service.hostname] = event.service


class CatalogueMachine(RuleBasedStateMachine):
    """A catalogue against a dict, and a second dict that only follows the events."""

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue()
        self.model: dict[str, ServiceMessage] = {}
        self.follower: dict[str, ServiceMessage] = {}

    def _follow(self, event: WatchEvent | None) -> None:
        if event is not None:
            _apply(event, self.follower)
            assert event.checksum == _obvious_checksum(self.follower)

    @rule(service=services())
    def put(self, service: ServiceMessage) -> None:
        event = self.catalogue.put(service)
        assert (event is None) == (self.model.get(service.hostname) == service)
        self.model[service.hostname] = service
        self._follow(event)

    @rule(hostname=st.sampled_from(HOSTNAMES))
    def remove(self, hostname: str) -> None:
        event = self.catalogue.remove(hostname)
        assert (event is None) == (hostname not in self.model)
        self.model.pop(hostname, None)
        self._follow(event)

    @rule(messages=service_lists)
    def replace(self, messages: list[ServiceMessage]) -> None:
        events = self.catalogue.replace(messages)
        self.model = {service.hostname: service for service in messages}
        assert len({event.service.hostname for event in events}) == len(events)
        for event in events:
            self._follow(event)

    @invariant()
    def agrees(self) -> None:
        assert {service.hostname: service for service in self.catalogue} == self.model == self.follower
        assert self.catalogue.checksum == _obvious_checksum(self.model)
        assert [s.hostname for s in self.catalogue.as_list().services] == sorted(self.model)


CatalogueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
TestCatalogue = CatalogueMachine.TestCase


def test_an_equal_service_is_no_event() -> None:
    """Putting what is there already tells nobody anything."""
    catalogue = Catalogue([ServiceMessage(name="a", hostname="a")])
    assert catalogue.put(ServiceMessage(name="a", hostname="a")) is None


@given(service_lists, st.lists(services(), max_size=4))
def test_a_draft_changes_nothing_until_it_is_committed(
    before: list[ServiceMessage], news: list[ServiceMessage]
) -> None:
    """A draft foretells the checksum that the catalogue has after the commit, and touches it only then."""
    catalogue, expected = Catalogue(before), Catalogue(before)
    draft = Draft(catalogue)
    for service in news:
        draft.apply(WatchEvent("add", service, 0))
        expected.put(service)
    assert catalogue.as_list() == Catalogue(before).as_list()
    assert draft.checksum == expected.checksum
    changed = draft.commit()
    assert catalogue.as_list() == expected.as_list()
    assert changed == {s.hostname for s in catalogue if Catalogue(before).get(s.hostname) != s}


def test_a_draft_takes_a_delete_of_nothing_for_no_change() -> None:
    """A delete of an unknown service leaves the checksum as it is, and commits to no change."""
    draft = Draft(Catalogue([ServiceMessage(hostname="a")]))
    before = draft.checksum
    draft.apply(WatchEvent("delete", ServiceMessage(hostname="b"), 0))
    assert draft.checksum == before
    assert draft.commit() == frozenset()
