"""What one peer is told: the catalogue of its exports, and those who watch it.

A change is encoded once for all watchers and put into each one's queue; nobody is waited for. A watcher that falls
behind by more than ``MAX_QUEUED_BYTES`` is cut off: it comes back and fetches the list. Not here: HTTP.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import ServiceMessage, WatchEvent, encode

LINE_END: Final = b"\r\n"
MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""How far a watcher may fall behind: some 40 000 events, more than the export of everything at once makes."""
CHUNK_BYTES: Final = 64 * 1024
"""Events that wait together are sent together, up to about this many bytes."""


class Subscription:
    """The queue of one watcher; one reader."""

    def __init__(self, source: str, *, cut_off: Callable[[], None]) -> None:
        self.source: Final = source
        self._cut_off = cut_off
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_closed = False
        self._news = asyncio.Event()

    async def wait_chunk(self) -> bytes:
        """The lines that wait to be sent, at least one; empty when there will be no more."""
        while not self._queue:
            if self._is_closed:
                return b""
            self._news.clear()
            await self._news.wait()
        return self._take()

    def offer(self, line: bytes) -> None:
        """Queue a line, or cut the watcher off if it is too far behind."""
        if self._is_closed:
            return
        if self._queued_bytes + len(line) > MAX_QUEUED_BYTES:
            self._queue.clear()
            self.close()
            self._cut_off()
            return
        self._queue.append(line)
        self._queued_bytes += len(line)
        self._news.set()

    def close(self) -> None:
        """No more lines will come; those in the queue are still to be sent."""
        self._is_closed = True
        self._news.set()

    def _take(self) -> bytes:
        lines = [self._queue.popleft()]
        size = len(lines[0])
        while self._queue and size + len(self._queue[0]) <= CHUNK_BYTES:
            lines.append(self._queue.popleft())
            size += len(lines[-1])
        self._queued_bytes -= size
        return b"".join(lines)


class ExportFeed:
    """The exports for one peer; not safe for threads: it belongs to the loop in which its watchers are served."""

    def __init__(self, services: Iterable[ServiceMessage] = ()) -> None:
        self._catalogue = Catalogue(services)
        self._snapshot: bytes | None = None
        self._subscriptions: set[Subscription] = set()
        self._sources: Counter[str] = Counter()
        self._is_closed = False

    def __len__(self) -> int:
        """How many services are exported."""
        return len(self._catalogue)

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def checksum(self) -> int:
        """The checksum of the list as it is now."""
        return self._catalogue.checksum

    @property
    def sources(self) -> tuple[str, ...]:
        """Where watchers are connected from, sorted."""
        return tuple(sorted(self._sources))

    def is_watched_from(self, source: str) -> bool:
        """A watcher is connected from ``source``."""
        return source in self._sources

    def put(self, service: ServiceMessage) -> bool:
        """Export a service, or export it differently; whether that changed anything."""
        return self._tell(self._catalogue.put(service))

    def remove(self, hostname: str) -> bool:
        """Export a service no longer; whether it was exported."""
        return self._tell(self._catalogue.remove(hostname))

    def replace(self, services: Iterable[ServiceMessage]) -> int:
        """Export exactly these services; how many changes that made."""
        events = self._catalogue.replace(services)
        for event in events:
            self._tell(event)
        return len(events)

    def snapshot(self) -> bytes:
        """The list as JSON; encoded when it is asked for after a change, and then kept."""
        if self._snapshot is None:
            self._snapshot = encode(self._catalogue.as_list())
        return self._snapshot

    @contextmanager
    def subscribe(self, source: str, *, cut_off: Callable[[], None]) -> Iterator[Subscription]:
        """Follow the changes from now on; ``cut_off`` is called, once, if the watcher falls too far behind."""
        subscription = Subscription(source, cut_off=cut_off)
        self._subscriptions.add(subscription)
        self._sources[source] += 1
        if self._is_closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self._sources -= Counter([source])  # drops the source with its last watcher

    def end_watches(self) -> None:
        """All watches end at once, after what they were told already; others may begin."""
        for subscription in self._subscriptions:
            subscription.close()

    def close(self) -> None:
        """The peer is deleted: its watches end, and so does each that begins."""
        self._is_closed = True
        self.end_watches()

    def _tell(self, event: WatchEvent | None) -> bool:
        if event is None:
            return False
        self._snapshot = None
        line = encode(event) + LINE_END if self._subscriptions else b""
        for subscription in self._subscriptions:
            subscription.offer(line)
        return True
