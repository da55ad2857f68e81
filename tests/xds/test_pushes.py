"""How long pushes take: the clock driven by hand."""

from dataclasses import dataclass, field

from isthmus.xds.pushes import PushClock
from isthmus.xds.resource import DeltaRequest, DeltaResponse


@dataclass
class Told:
    """A listener that remembers."""

    pushed_: list[str] = field(default_factory=list)
    settled_: list[tuple[str, float, bool]] = field(default_factory=list)

    def pushed(self, client: str, type_url: str) -> None:
        self.pushed_.append(f"{client}: {type_url}")

    def settled(self, client: str, type_url: str, *, seconds: float, is_rejected: bool) -> None:
        self.settled_.append((type_url, seconds, is_rejected))


def test_a_push_is_timed_from_the_first_news() -> None:
    """What came between the change and the response adds to its time; the answer ends it, once."""
    told = Told()
    clock = PushClock("egress", told)
    clock.news(1)
    clock.news(2)
    clock.sent([DeltaResponse("Cluster", "1"), DeltaResponse("Listener", "2")], 3)
    clock.received(DeltaRequest("Listener", nonce="2", error="no"), 4)
    clock.received(DeltaRequest("Cluster", nonce="1"), 6)
    clock.received(DeltaRequest("Cluster", nonce="1"), 7)
    assert told.pushed_ == ["egress: Cluster", "egress: Listener"]
    assert told.settled_ == [("Listener", 3, True), ("Cluster", 5, False)]


def test_news_that_was_sent_is_news_no_longer() -> None:
    """A look that found nothing to send does not make the next push older than its change."""
    told = Told()
    clock = PushClock("egress", told)
    clock.news(1)
    clock.sent([], 1)
    clock.news(10)
    clock.sent([DeltaResponse("Cluster", "1")], 10)
    clock.received(DeltaRequest("Cluster", nonce="1"), 10.5)
    assert told.settled_ == [("Cluster", 0.5, False)]


def test_a_request_without_answer_settles_nothing() -> None:
    """A subscription, or a nonce that nobody gave out, is no answer."""
    told = Told()
    clock = PushClock("egress", told)
    clock.received(DeltaRequest("Cluster"), 1)
    clock.received(DeltaRequest("Cluster", nonce="77", error="x"), 1)
    assert told.settled_ == []
