"""The work queue."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import structlog

from isthmus.backoff import Backoff
from isthmus.kube import WorkQueue
from isthmus.kube.errors import TerminalError, Unavailable
from isthmus.logs import configure

Reconcile = Callable[[str], Awaitable[timedelta | None]]


@asynccontextmanager
async def working(queue: WorkQueue[str], reconcile: Reconcile, *, workers: int = 1) -> AsyncIterator[None]:
    """Run the queue for the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(queue.run(reconcile, workers=workers))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def quick() -> WorkQueue[str]:
    """Make a queue that hardly waits."""
    return WorkQueue("test", backoff=Backoff(first_s=0.001, longest_s=0.004), jitter=lambda: 0.5)


class Recorder:
    """Reconciles as told, and remembers."""

    def __init__(self, until: int) -> None:
        self.seen: list[str] = []
        self.enough = asyncio.Event()
        self._until = until

    async def __call__(self, key: str) -> timedelta | None:
        """Remember the key."""
        self.seen.append(key)
        if len(self.seen) >= self._until:
            self.enough.set()
        return None


async def test_keys_that_wait_are_coalesced() -> None:
    """A key that is added many times before its turn is reconciled once, and keys keep their order."""
    queue, record = quick(), Recorder(until=2)
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert len(queue) == 2
    async with working(queue, record):
        await record.enough.wait()
    assert record.seen == ["a", "b"]


async def test_key_added_while_it_is_worked_on_comes_again() -> None:
    """What changes during a reconcile is reconciled once more, and never by two workers at once."""
    queue, enough = quick(), asyncio.Event()
    active, runs = 0, 0

    async def reconcile(key: str) -> None:
        nonlocal active, runs
        active += 1
        assert active == 1
        runs += 1
        if runs == 1:
            queue.add(key)
            queue.add(key)
            await asyncio.sleep(0)
        else:
            enough.set()
        active -= 1

    queue.add("a")
    async with working(queue, reconcile, workers=3):
        await enough.wait()
    assert runs == 2


async def test_failure_is_tried_again_with_back_off() -> None:
    """A key that fails comes again until it succeeds, and does not hold up others."""
    queue, record = quick(), Recorder(until=4)
    failures = iter([OSError("first"), ValueError("second")])

    async def reconcile(key: str) -> timedelta | None:
        await record(key)
        if key == "bad" and (error := next(failures, None)):
            raise error
        return None

    queue.add("bad")
    queue.add("good")
    async with working(queue, reconcile):
        await record.enough.wait()
    assert record.seen == ["bad", "good", "bad", "bad"]


async def test_terminal_error_is_not_tried_again() -> None:
    """A key whose reconciler gives up rests until it is added again."""
    queue, record = quick(), Recorder(until=2)

    async def reconcile(key: str) -> timedelta | None:
        await record(key)
        if key == "bad":
            raise TerminalError("no use")
        return None

    queue.add("bad")
    async with working(queue, reconcile):
        queue.add_after("good", 0.02)
        await record.enough.wait()
    assert record.seen == ["bad", "good"]


async def test_requeue_after() -> None:
    """A reconciler that asks to be called again is."""
    queue, record = quick(), Recorder(until=3)

    async def reconcile(key: str) -> timedelta | None:
        await record(key)
        return timedelta(milliseconds=1)

    queue.add("a")
    async with working(queue, reconcile):
        await record.enough.wait()
    assert set(record.seen) == {"a"}


async def test_add_brings_a_later_turn_forward() -> None:
    """A key that waits for a moment is reconciled at once if it is added, and then only once."""
    queue, record = quick(), Recorder(until=1)
    queue.add_after("a", 3600)
    queue.add("a")
    async with working(queue, record):
        await record.enough.wait()
    assert record.seen == ["a"]
    assert not queue._timers


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def _logging() -> Iterator[None]:
    configure()
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging")
async def test_a_failure_that_repeats_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """However often it is tried: one line when it begins, one when it ends, both with what the key stands for."""
    queue: WorkQueue[str] = WorkQueue(
        "test", backoff=Backoff(first_s=0.001, longest_s=0.004), facts=lambda peer: {"peer": peer}
    )
    record = Recorder(until=6)

    async def reconcile(key: str) -> timedelta | None:
        await record(key)
        if len(record.seen) < 6:
            raise OSError("it is full")
        return None

    queue.add("green-mesh")
    async with working(queue, reconcile):
        await record.enough.wait()
        await asyncio.sleep(0)
    began, ended = _lines(capsys)
    assert (began["event"], began["error"]) == ("reconcile failed, trying on", "OSError: it is full")
    assert (ended["event"], ended["failures"]) == ("reconcile succeeds again", 5)
    assert began["peer"] == ended["peer"] == "green-mesh"
    assert queue.retries == 5


@pytest.mark.usefixtures("_logging")
async def test_an_api_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand keys that fail because nobody answers are one line, not a thousand."""
    queue, record = quick(), Recorder(until=50)

    async def reconcile(key: str) -> timedelta | None:
        await record(key)
        raise Unavailable(f"write Service {key}: connection refused")

    for number in range(25):
        queue.add(str(number))
    async with working(queue, reconcile):
        await record.enough.wait()
    (line,) = _lines(capsys)
    assert line["event"] == "reconcile failed, trying on"


@pytest.mark.usefixtures("_logging")
async def test_a_key_that_never_failed_does_not_tell_of_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A write that nobody answers is one line, though others succeed meanwhile; so is the next time, after its end."""
    queue, record = quick(), Recorder(until=22)

    async def reconcile(key: str) -> timedelta | None:
        if key == "good":
            return timedelta(0)
        await record(key)
        if len(record.seen) in {10, 11, 21, 22}:
            return timedelta(0)
        raise Unavailable("write Service bad: connection refused")

    queue.add("good")
    queue.add("bad")
    async with working(queue, reconcile, workers=2):
        await record.enough.wait()
    assert [line["event"] for line in _lines(capsys)] == ["reconcile failed, trying on"] * 2
    assert queue.retries == 18


async def test_many_keys_with_nothing_to_do_leave_others_their_turn() -> None:
    """Reconciliations that never wait do not keep the event loop from everybody else until all of them are done."""
    queue, record = quick(), Recorder(until=1000)
    for number in range(1000):
        queue.add(str(number))
    async with working(queue, record):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(record.seen) < 1000
        await record.enough.wait()
