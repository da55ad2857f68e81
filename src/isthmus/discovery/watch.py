"""The answer to a watch: headers at once, one line per change, white space as heartbeat.

Source: docs/protocol.md §2, ``GET /v1/watch/{peer}`` and "What Isthmus adds".
"""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from isthmus.discovery.exporter import ExportedLink
from isthmus.discovery.feed import LINE_END, Subscription
from isthmus.discovery.times import TIME_HEADER, time_header

HEARTBEAT_HEADER: Final = "isthmus-heartbeat"
HEARTBEAT_S: Final = 15.0


class _WatcherGoneError(Exception):
    """Private: the watcher has closed its connection."""


class WatchResponse:
    """An ASGI response that follows ``link``'s feed until the feed is closed or the watcher goes away.

    ``cut_off`` breaks the connection at once, whatever is still to be sent over it.
    """

    def __init__(self, link: ExportedLink, source: str, *, cut_off: Callable[[], None], heartbeat_s: float) -> None:
        self._link = link
        self._source = source
        self._cut_off = cut_off
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        feed = self._link.feed
        is_first = not feed.is_watched_from(self._source)
        try:
            with feed.subscribe(self._source, cut_off=self._cut_off) as subscription:
                if is_first:
                    self._link.remote_connected(self._source)
                await self._serve(subscription, receive, send)
        finally:
            if not feed.is_watched_from(self._source):
                self._link.remote_disconnected(self._source)

    async def _serve(self, subscription: Subscription, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(_wait_gone(receive), name=f"watcher {self._source} goes away")
                await self._send_changes(subscription, send)
                listening.cancel()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except* _WatcherGoneError:
            pass

    async def _send_changes(self, subscription: Subscription, send: Send) -> None:
        while lines := await self._wait_lines(subscription):
            await send({"type": "http.response.body", "body": lines, "more_body": True})
            if lines != LINE_END:
                self._link.tally.events_sent += lines.count(LINE_END)
                self._link.tally.bytes_sent += len(lines)
                self._link.remote_got_event(self._source)

    async def _wait_lines(self, subscription: Subscription) -> bytes:
        try:
            async with asyncio.timeout(self._heartbeat_s):
                return await subscription.wait_chunk()
        except TimeoutError:
            return LINE_END

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"application/json"),
            (HEARTBEAT_HEADER.encode(), f"{self._heartbeat_s:g}".encode()),
            (TIME_HEADER.encode(), time_header().encode()),
        ]


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _WatcherGoneError
