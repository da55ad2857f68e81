"""Watches that follow each other, driven by hand: who is told to be there."""

import asyncio
from typing import Any

from tests.discovery.mesh import GreenLink, Mesh
from tests.waiting import until

from isthmus.discovery.watch import WatchResponse

SOURCE = "192.0.2.1"


class _Watcher:
    """One connection: takes what is sent, but the end only when it is let go."""

    def __init__(self, link: GreenLink) -> None:
        self.sent: list[bytes] = []
        self.may_end = asyncio.Event()
        self._response = WatchResponse(link, SOURCE, cut_off=lambda: None, heartbeat_s=60)

    async def run(self) -> None:
        await self._response({}, self._receive, self._send)

    async def _receive(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))
        if message.get("more_body") is False:
            await self.may_end.wait()


async def test_who_is_back_before_the_former_watch_has_ended_is_there(mesh: Mesh) -> None:
    """A watch that is ended may be cleared away only after the next from the same source has begun: that one counts."""
    link = GreenLink(mesh.bundle)
    former, present = _Watcher(link), _Watcher(link)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(former.run())
        await until(lambda: link.feed.sources == (SOURCE,))
        link.feed.end_watches()
        await until(lambda: len(former.sent) == 2)
        second = tasks.create_task(present.run())
        await until(lambda: len(present.sent) == 1)
        former.may_end.set()
        await first
        assert link.told == [("connected", SOURCE)]
        assert link.feed.sources == (SOURCE,)
        link.feed.end_watches()
        present.may_end.set()
        await second
    assert link.told == [("connected", SOURCE), ("disconnected", SOURCE)]
