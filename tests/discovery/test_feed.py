"""A change goes to every watcher's queue; nobody is waited for."""

import asyncio

from tests.discovery.mesh import service

from isthmus.discovery.feed import CHUNK_BYTES, MAX_QUEUED_BYTES, ExportFeed, Subscription
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import parse_service_list, parse_watch_event


def _never() -> None:
    raise AssertionError("cut off")


async def _drained(subscription: Subscription) -> list[bytes]:
    """All chunks until the subscription ends."""
    chunks = []
    while chunk := await subscription.wait_chunk():
        chunks.append(chunk)
    return chunks


async def test_every_watcher_gets_every_change_from_its_start_on() -> None:
    """Two watchers, the second later: each has the changes since it came, in order."""
    feed = ExportFeed()
    with feed.subscribe("10.0.0.1", cut_off=_never) as first:
        feed.put(service("a"))
        with feed.subscribe("10.0.0.2", cut_off=_never) as second:
            feed.put(service("b"))
            feed.close()
            names = [
                [parse_watch_event(line).service.name for line in b"".join(await _drained(each)).splitlines()]
                for each in (first, second)
            ]
    assert names == [["a", "b"], ["b"]]


async def test_an_equal_service_is_not_told() -> None:
    """What changes nothing reaches nobody."""
    feed = ExportFeed([service("a")])
    with feed.subscribe("10.0.0.1", cut_off=_never) as subscription:
        assert not feed.put(service("a"))
        assert not feed.remove(service("b").hostname)
        assert feed.replace([service("a")]) == 0
        feed.close()
        assert await _drained(subscription) == []


async def test_the_list_is_encoded_once_per_change() -> None:
    """The same bytes object until something changes, and then a list that is up to date."""
    feed = ExportFeed([service("a")])
    assert feed.snapshot() is feed.snapshot()
    before = feed.snapshot()
    feed.put(service("b"))
    assert feed.snapshot() != before
    assert parse_service_list(feed.snapshot()) == Catalogue([service("a"), service("b")]).as_list()


async def test_what_waits_is_sent_together() -> None:
    """Many small events become chunks of a bounded size."""
    feed = ExportFeed()
    with feed.subscribe("10.0.0.1", cut_off=_never) as subscription:
        feed.replace(service(f"service-{number}") for number in range(1000))
        feed.close()
        chunks = await _drained(subscription)
    assert sum(chunk.count(b"\r\n") for chunk in chunks) == 1000
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert len(chunks) < 10


async def test_a_watcher_too_far_behind_is_cut_off_once() -> None:
    """Its queue does not grow beyond the bound; the others' go on."""
    cuts: list[str] = []
    feed = ExportFeed()
    with (
        feed.subscribe("10.0.0.1", cut_off=lambda: cuts.append("slow")) as slow,
        feed.subscribe("10.0.0.2", cut_off=lambda: cuts.append("quick")) as quick,
    ):
        size = 0
        for port in range(3000):
            feed.put(service("a", accounts=100, port=port))
            size += len(await quick.wait_chunk())
            assert bool(cuts) == (size > MAX_QUEUED_BYTES)
        assert await slow.wait_chunk() == b""
    assert cuts == ["slow"]


async def test_a_feed_that_is_closed_ends_new_watches_too() -> None:
    """Whoever subscribes after the peer was deleted is told so at once."""
    feed = ExportFeed()
    feed.close()
    with feed.subscribe("10.0.0.1", cut_off=_never) as subscription:
        assert await subscription.wait_chunk() == b""


async def test_a_waiting_watcher_is_woken() -> None:
    """A watcher that waits gets the change when it comes."""
    feed = ExportFeed()
    with feed.subscribe("10.0.0.1", cut_off=_never) as subscription:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(subscription.wait_chunk())
            await asyncio.sleep(0)  # let it begin to wait
            feed.put(service("a"))
        assert parse_watch_event(waiting.result()).service == service("a")


def test_sources_are_counted() -> None:
    """A source is there as long as one of its watches is."""
    feed = ExportFeed()
    with feed.subscribe("10.0.0.1", cut_off=_never):
        with feed.subscribe("10.0.0.1", cut_off=_never):
            pass
        assert feed.is_watched_from("10.0.0.1")
    assert feed.sources == ()
