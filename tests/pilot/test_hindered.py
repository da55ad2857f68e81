"""What is told of imports that cannot be carried out at present."""

import pytest
from tests.envoy import plans
from tests.pilot.red import service
from tests.pilot.test_link import import_rules

from isthmus.discovery import ExportFeed
from isthmus.federation.hindrances import not_written
from isthmus.pilot.hindered import Hindered
from isthmus.pilot.link import Link

A, B = (("green-mesh", service(name).hostname) for name in "ab")
REFUSED = not_written("cannot apply Service shop/a: there is no such namespace (404)")


class World:
    """A link over which a and b are imported, and who hears what is in their way."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.link = Link(
            "green-mesh",
            pod="istiod-red-mesh-0",
            trust_bundle=plans.bundle("red"),
            feed=ExportFeed,
            status_changed=lambda: None,
            imports_changed=lambda _: None,
        )
        self.link.imports.configure(import_rules())
        self.link.remember([service("a"), service("b")])
        self.hindered = Hindered({"green-mesh": self.link}, changed=self.news.append)

    @property
    def told(self) -> list[str]:
        """The reasons that the administrator reads."""
        return [each.reason for each in self.link.imports.hindered()]


@pytest.fixture
def world() -> World:
    """Nothing is in the way."""
    return World()


def test_a_refusal_is_told_until_the_import_is_written(world: World) -> None:
    """While it is tried again, or has changed and is yet to be tried, nothing else is told: a status must not waver."""
    for _ in range(3):
        world.hindered.tried(A, REFUSED)
        world.hindered.has_ports(A)
    assert (world.told, world.news) == (["NotWritten"], ["green-mesh"])
    world.hindered.tried(A, None)
    assert (world.told, world.news) == ([], ["green-mesh"] * 2)


def test_who_waits_longest_for_a_port_comes_first(world: World) -> None:
    """One that was tried in vain waits behind the others; having its ports, it is told of no more."""
    for each in (A, B, A):
        world.hindered.waits_for_port(each)
    assert (world.told, world.hindered.first_waiting) == (["NoGatewayPort"] * 2, B)
    world.hindered.has_ports(B)
    assert (world.told, world.hindered.first_waiting) == (["NoGatewayPort"], A)


def test_what_was_there_before_is_written_while_more_is_waited_for(world: World) -> None:
    """An import that waits for further ports goes on as it was; that this is written ends no waiting."""
    world.hindered.waits_for_port(A)
    world.hindered.tried(A, None)
    assert world.told == ["NoGatewayPort"]
    world.hindered.forget(A)
    assert (world.told, world.hindered.first_waiting) == ([], None)


def test_of_a_peer_that_is_gone_nothing_is_told(world: World) -> None:
    """What is still being cleared up has no administrator."""
    world.hindered.tried(("blue-mesh", A[1]), REFUSED)
    assert world.news == []
