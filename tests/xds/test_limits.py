"""However much a client says, and whatever it leaves unsaid, a stream holds no more than its limits."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.xds import DeltaRequest, DeltaStream, Limits, Resource, ResourceTable, StreamLimitError

SMALL = Limits(types=3, names=5, held=10, characters=8, unanswered=6, unanswered_names=20)
MADE = ("a", "b", "0", "1", "2")
"""Names of which there is something as soon as it is asked for."""
EAGER = tuple(f"eager-{number}" for number in range(4))


def stream_of(*eager: str) -> DeltaStream:
    """A stream with small limits, on which some names exist of each type, and others are made on demand."""
    table = ResourceTable({"0": lambda name: Resource(name, "1", b"") if name in MADE else None})
    for number in range(5):
        table.replace(str(number), [Resource(name, "1", b"") for name in eager])
    stream = DeltaStream(table, limits=SMALL)
    table.listen(stream.changed)
    return stream


def _many(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


ONCE = {
    "names": DeltaRequest("0", _many(11)),
    "resources it has": DeltaRequest("0", initial_versions=dict.fromkeys(_many(11), "1")),
    "a long name": DeltaRequest("0", ("x" * 9,)),
    "a long name that it has": DeltaRequest("0", initial_versions={"x" * 9: "1"}),
    "a long version": DeltaRequest("0", initial_versions={"x": "1" * 9}),
    "a long type": DeltaRequest("x" * 9),
}


@pytest.mark.parametrize("request_", ONCE.values(), ids=ONCE)
def test_too_much_at_once_is_refused(request_: DeltaRequest) -> None:
    """A request that goes beyond a limit closes the stream, and the message has the limit."""
    with pytest.raises(StreamLimitError, match=r"a stream may have (8|10) at most"):
        stream_of().receive(request_)


def hear(stream: DeltaStream, requests: Iterable[DeltaRequest], *, reads: bool = True) -> None:
    """Receive these, and send what there is to be sent after each, unless the client reads nothing."""
    for request in requests:
        stream.receive(request)
        if reads:
            stream.flush()


def _asks_and_never_answers() -> Iterator[DeltaRequest]:
    while True:
        yield DeltaRequest("0", ("a",))


def _asks_for_much_and_never_answers() -> Iterator[DeltaRequest]:
    while True:
        yield DeltaRequest("0", _many(8))


def _makes_types_up() -> Iterator[DeltaRequest]:
    for number in range(1000):
        yield DeltaRequest(str(number))


ENDLESS = {
    "responses not acknowledged": (_asks_and_never_answers(), "7 responses"),
    "names not acknowledged": (_asks_for_much_and_never_answers(), "24 names in responses"),
    "types": (_makes_types_up(), "4 types"),
}


@pytest.mark.parametrize(("says", "expected"), ENDLESS.values(), ids=ENDLESS)
def test_too_much_little_by_little_is_refused(says: Iterator[DeltaRequest], expected: str) -> None:
    """So does a client that goes on and on."""
    with pytest.raises(StreamLimitError, match=expected):
        hear(stream_of(), says)


def test_names_that_come_and_go_before_they_are_looked_at_count() -> None:
    """A client that reads nothing, so that nothing can be sent, makes no list of what it has left grow."""
    asked = (DeltaRequest("0", (str(number),), (str(number - 1),)) for number in range(1000))
    with pytest.raises(StreamLimitError, match="11 names sent or not yet looked at"):
        hear(stream_of(), asked, reads=False)


def test_names_beyond_the_limit_are_answered_and_forgotten() -> None:
    """Who makes names up is told of each that there is nothing, and what there is comes, and changes, as before."""
    stream = stream_of()
    for number in range(100, 1100):
        stream.receive(DeltaRequest("0", (str(number),), nonce=str(number - 99)))
        assert [response.removed for response in stream.flush()[-1:]] == [(str(number),)]
    assert stream.forgotten == 1000 - SMALL.names
    stream.receive(DeltaRequest("0", MADE))
    assert {each.name for response in stream.flush() for each in response.resources} == set(MADE)
    assert stream.changed("0", ["a"])
    assert not stream.changed("0", ["1099"])


def test_a_client_that_comes_back_with_too_many_names_keeps_what_there_is() -> None:
    """What it subscribes to again beyond the limit is forgotten, but for what exists."""
    stream = stream_of()
    stream.receive(DeltaRequest("0", ("5", "6", "7", "8", "9", *MADE)))
    sent = stream.flush()
    assert {each.name for response in sent for each in response.resources} == set(MADE)
    assert {name for response in sent for name in response.removed} == {"5", "6", "7", "8", "9"}
    assert all(stream.changed("0", [name]) for name in MADE)


def test_a_client_that_answers_goes_on_for_ever() -> None:
    """What is acknowledged or refused, and what is unsubscribed from, no longer counts."""
    stream = stream_of(*EAGER)
    for number in range(1000):
        stream.receive(DeltaRequest("0", (str(number),), (str(number - 1),)))
        for response in stream.flush():
            stream.receive(DeltaRequest(response.type_url, nonce=response.nonce, error="no" * (number % 2)))


_names = st.sampled_from((*EAGER, "*", "a", "b", *_many(12))) | st.text(max_size=10)
_requests = st.builds(
    DeltaRequest,
    st.sampled_from(["0", "1", "2", "3"]) | st.text(max_size=10),
    st.lists(_names, max_size=6).map(tuple),
    st.lists(_names, max_size=6).map(tuple),
    st.dictionaries(_names, st.text(max_size=9), max_size=12),
    st.integers(0, 12).map(str) | st.text(max_size=3),
    st.sampled_from(["", "no"]),
)


@given(st.lists(st.none() | _requests, max_size=40))
def test_a_stream_is_bounded_or_closed(said: list[DeltaRequest | None]) -> None:
    """Any sequence of requests, with what is sent between (None), is within the limits, or ends with their error."""
    stream = stream_of(*EAGER)
    with suppress(StreamLimitError):
        for request in said:
            if request is None:
                stream.flush()
            else:
                stream.receive(request)
            assert _within(stream)


def _within(stream: DeltaStream) -> bool:
    """Whether all that the stream keeps of what its client said is bounded; it looks inside, where it is kept."""
    subscriptions = stream._subscriptions
    texts = [text for each in subscriptions.values() for text in (*each.names, *each.sent, *each._dirty, *each._forced)]
    return (
        len(subscriptions) <= SMALL.types
        and len(texts) <= SMALL.names + len(MADE) + len(EAGER) + 3 * SMALL.held
        and all(len(text) <= SMALL.characters for text in (*texts, *subscriptions))
        and len(stream._in_flight) <= SMALL.unanswered
        and sum(map(len, stream._in_flight.values())) <= SMALL.unanswered_names
    )
