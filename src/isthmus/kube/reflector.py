"""Keeps a store like the API server: list once, then watch, and list again only if the server has forgotten.

Source: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "410 Gone responses".
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, NoReturn, TypeVar

import structlog

from isthmus.backoff import Backoff
from isthmus.kube.client import Client
from isthmus.kube.errors import Expired, KubeError, Unavailable
from isthmus.kube.store import KubeObject, ObjectKey, Store, key_of, metadata_of
from isthmus.kube.wire import Decoded, Lines, Undecodable, Wire, collection_path

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=KubeObject)

PAGE = 500
"""Objects a list asks for at a time: one page is decoded in a few milliseconds."""

BATCH = 100
"""Events after which other tasks get their turn, even if more have arrived already."""

WATCH_S = 300
"""How long the server is asked to let a watch stand; up to as much again is added at random."""

SHORTEST_WATCH_S = 1.0
"""A watch that ends sooner, without an event, counts as a failure, lest a broken server is asked without pause."""


BACKOFF = Backoff(first_s=0.1, longest_s=10.0)
"""Between attempts to reach the API server: soon at first, since most failures are a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a kind: of one namespace or of all (None), by selectors as kubectl takes them."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    @property
    def params(self) -> dict[str, str]:
        """The selectors as query parameters."""
        return {
            name: value for name, value in (("labelSelector", self.labels), ("fieldSelector", self.fields)) if value
        }


EVERYTHING = Selection()


class Reflector(Generic[T]):
    """Keeps ``store`` like the API server. Only :meth:`run` does I/O."""

    def __init__(
        self,
        client: Client,
        resource: type[T],
        store: Store[T],
        *,
        selection: Selection = EVERYTHING,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare.

        selection: which objects of the kind. jitter: gives numbers from 0 up to 1. now: the clock for
        ``store.stale_since``. Raises ValueError if a namespace is selected for a kind that is not in namespaces.
        """
        self._client = client
        self._store = store
        self._wire: Wire[T] = Wire(resource)
        self._path = collection_path(resource, namespace=selection.namespace)
        self._selection = selection.params
        self._jitter = jitter
        self._now = now
        self._version = ""
        self._failures = 0

    async def run(self) -> NoReturn:
        """Keep the store until cancelled. Every failure of the API is retried for ever, with back-off."""
        while True:
            try:
                await self._follow()
            except Expired:
                self._version = ""
                self._failures += 1
            except KubeError as error:
                self._lost(error)
            await asyncio.sleep(BACKOFF.delay_s(self._failures, jitter=self._jitter()))

    async def _follow(self) -> None:
        if not self._version:
            self._version = await self._list()
            self._store.synced.set()
        started = asyncio.get_running_loop().time()
        events = await self._watch()
        if not events and asyncio.get_running_loop().time() - started < SHORTEST_WATCH_S:
            raise Unavailable(f"cannot watch {self._path}: the server ended the watch at once")
        self._failures = 0

    async def _list(self) -> str:
        """Bring the store up to a list, page by page; return the list's resource version."""
        seen: set[ObjectKey] = set()
        params = {**self._selection, "limit": str(PAGE)}
        while True:
            page = self._wire.page(await self._client.read(self._path, params, doing=f"list {self._path}"))
            seen.update(self._take(item) for item in page.items)
            if not page.next:
                break
            params["continue"] = page.next
        self._store.retain(seen)
        return page.version

    async def _watch(self) -> int:
        """Follow one watch to its end; return how many events it had. The version moves with each event."""
        params = {
            **self._selection,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_S + int(WATCH_S * self._jitter())),
        }
        async with self._client.stream(self._path, params, doing=f"watch {self._path}") as chunks:
            self._restored()
            return await self._consume(chunks)

    async def _consume(self, chunks: AsyncIterator[bytes]) -> int:
        lines, count = Lines(), 0
        async for chunk in chunks:
            for line in lines.feed(chunk):
                self._apply(line)
                count += 1
                if count % BATCH == 0:
                    await asyncio.sleep(0)
        return count

    def _apply(self, line: bytes) -> None:
        event = self._wire.event(line, doing=f"watch {self._path}")
        match event.type:
            case "ADDED" | "MODIFIED":
                self._take(event.item)
            case "DELETED":
                self._store.remove(event.item.key)
        self._version = event.item.version
        self._failures = 0

    def _take(self, item: Decoded[T] | Undecodable) -> ObjectKey:
        """Put an object into the store. One that its type does not allow leaves what was known of it in place."""
        if isinstance(item, Undecodable):
            log.warning("object left out: not what its kind allows", path=self._path, key=str(item.key), error=item.why)
            self._store.reject(item.key, item.why)
            return item.key
        # Who manages which field is of no use to a reader, and half the size of many objects.
        metadata_of(item.object).managedFields = None
        self._store.put(item.object)
        return key_of(item.object)

    def _lost(self, error: KubeError) -> None:
        self._failures += 1
        if self._store.stale_since is None:
            self._store.stale_since = self._now()
            log.info("watch lost", path=self._path, error=str(error))

    def _restored(self) -> None:
        if self._store.stale_since is not None:
            log.info("watch restored", path=self._path)
            self._store.stale_since = None
