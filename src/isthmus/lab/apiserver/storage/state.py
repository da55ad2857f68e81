"""The current state in memory, the window of recent events, and the watchers of both.

Pure but for the watchers' wake-ups: whatever is committed is applied here, in the order of revisions. The window bounds
how far back a watch can resume and a list can be continued; before it lies only what compaction may drop.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from isthmus.lab.apiserver.objects import Key, Stored


@dataclass(frozen=True, slots=True)
class Window:
    """How many recent events are kept, and how many bytes of objects in them: what watches can resume from.

    The defaults cover minutes of a busy lab in a fraction of its memory. ``backlog`` is how many events may wait for a
    watcher that does not read them, before it is dropped.
    """

    events: int = 8192
    bytes: int = 24 * 1024 * 1024
    backlog: int = 8192


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object. ``stored`` is the new state, or the last one with the deletion's revision."""

    stored: Stored
    previous: Stored | None
    deleted: bool

    @property
    def revision(self) -> int:
        return self.stored.revision

    @property
    def key(self) -> Key:
        return self.stored.key


class ExpiredError(Exception):
    """Events after the asked revision are no longer complete; ``oldest`` is the first from which they are."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")


class Watcher:
    """Receives the events of one resource from the moment it is made: in one namespace or all, of one name or all ("").

    It may receive those of ``also`` whole resources too. One reader. It is dropped (``overflowed``) when it falls too
    far behind, and ``closed`` when the server stops.
    """

    def __init__(self, place: Key, *, backlog: int, also: Iterable[str] = ()) -> None:
        self.place = place
        self.places = frozenset((place, *(Key(resource, "", "") for resource in also)))
        self._backlog = backlog
        self.overflowed = False
        self.closed = False
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()

    def offer(self, event: Event) -> bool:
        """Take an event of its place; False when the backlog is full and the watcher is to be dropped."""
        if self.overflowed or len(self._waiting) >= self._backlog:
            self._drop()
            return False
        self._waiting.append(event)
        self._wake.set()
        return True

    def _drop(self) -> None:
        """Its reader has to list again anyway: what waits is not kept for it."""
        self.overflowed = True
        self._waiting.clear()
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._wake.set()

    async def wait_events(self, timeout_s: float) -> list[Event]:
        """The events that wait, as soon as there is one; none when the time is over or the watcher ended.

        Whatever was offered before it returns is in it: a bookmark that follows may name the state's revision.
        """
        if not self._waiting and not self.ended and timeout_s > 0:
            self._wake.clear()
            # Cheaper than asyncio.timeout: with many watchers this is done for each event and each of them.
            timer = asyncio.get_running_loop().call_later(timeout_s, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        events = list(self._waiting)
        self._waiting.clear()
        return events

    @property
    def ended(self) -> bool:
        return self.closed or self.overflowed


def _places(key: Key) -> set[Key]:
    """Where the watchers of an object's events are: all but those that could want it cost an event nothing."""
    resource, namespace, name = key
    # A set: of an object without a namespace some are the same.
    return {key, Key(resource, namespace, ""), Key(resource, "", name), Key(resource, "", "")}


class Table:
    """The current objects of one resource, in the order of (namespace, name)."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self._sorted: list[tuple[str, str]] | None = None
        self.revision = 0  # of the last change

    def apply(self, event: Event) -> None:
        place = (event.key.namespace, event.key.name)
        if event.deleted:
            self.objects.pop(place, None)
            self._sorted = None
        else:
            if place not in self.objects:
                self._sorted = None
            self.objects[place] = event.stored
        self.revision = event.revision

    def ordered(self, namespace: str) -> list[Stored]:
        """The objects of one namespace, or of all ("")."""
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        names = self._sorted
        if namespace:
            names = names[bisect_left(names, (namespace, "")) : bisect_left(names, (namespace + "\0", ""))]
        return [self.objects[place] for place in names]


class State:
    """Everything that is stored now, and the window of events that led there."""

    def __init__(self, *, revision: int, compacted: int, window: Window) -> None:
        self.window = window
        self.revision = revision
        self.compacted = compacted  # events up to this one are not complete any more
        self._tables: dict[str, Table] = defaultdict(Table)
        self._recent: deque[Event] = deque()
        self._recent_bytes = 0
        self._watchers: dict[Key, list[Watcher]] = {}

    def load(self, objects: Iterable[Stored], events: Iterable[Event]) -> None:
        """Take over what was read from the database at start."""
        for stored in objects:
            self._tables[stored.key.resource].apply(Event(stored, None, deleted=False))
        for event in events:
            table = self._tables[event.key.resource]
            table.revision = max(table.revision, event.revision)
            self._remember(event)

    def get(self, key: Key) -> Stored | None:
        table = self._tables.get(key.resource)
        return table.objects.get((key.namespace, key.name)) if table else None

    def listed(self, resource: str, namespace: str = "") -> list[Stored]:
        table = self._tables.get(resource)
        return table.ordered(namespace) if table else []

    def listed_at(self, resource: str, namespace: str, revision: int) -> list[Stored]:
        """The objects as they were at an earlier revision: the present with the later events undone.

        Raises ExpiredError when that revision has left the window.
        """
        if self.changed(resource) <= revision:
            return self.listed(resource, namespace)
        places = {(one.key.namespace, one.key.name): one for one in self.listed(resource, namespace)}
        for event in reversed(self._events_after(revision)):
            if event.key.resource == resource and namespace in ("", event.key.namespace):
                place = (event.key.namespace, event.key.name)
                places.pop(place, None)
                if event.previous is not None:
                    places[place] = event.previous
        return [places[place] for place in sorted(places)]

    def changed(self, resource: str) -> int:
        """The revision of the resource's last change that is known; 0 if none is."""
        return self._tables[resource].revision if resource in self._tables else 0

    def count(self, resource: str) -> int:
        return len(self._tables[resource].objects) if resource in self._tables else 0

    def resources(self) -> Iterator[str]:
        """The resources that have, or had, an object."""
        return iter(list(self._tables))

    def apply(self, event: Event) -> None:
        """Take over a committed change and tell the watchers."""
        self._tables[event.key.resource].apply(event)
        self.revision = event.revision
        self._remember(event)
        for place in _places(event.key):
            watchers = self._watchers.get(place, ())
            accepted = [watcher.offer(event) for watcher in watchers]
            if not all(accepted):
                self._watchers[place] = [one for one in watchers if not one.overflowed]

    def watch(self, resource: str, namespace: str, name: str = "", *, also: Iterable[str] = ()) -> Watcher:
        """A watcher of everything from now on; the caller gives it back with ``unwatch``."""
        watcher = Watcher(Key(resource, namespace, name), backlog=self.window.backlog, also=also)
        for place in watcher.places:
            self._watchers.setdefault(place, []).append(watcher)
        return watcher

    def watch_since(
        self, resource: str, namespace: str, revision: int, name: str = "", *, also: Iterable[str] = ()
    ) -> Watcher:
        """A watcher of everything after a revision. Raises ExpiredError when that has left the window."""
        missed = self._events_after(revision)
        watcher = self.watch(resource, namespace, name, also=also)
        for event in missed:
            if watcher.places & _places(event.key):
                watcher.offer(event)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        for place in watcher.places:
            left = [one for one in self._watchers.pop(place, ()) if one is not watcher]
            if left:
                self._watchers[place] = left

    def close_watchers(self, resource: str | None = None) -> None:
        """End the watches of one resource, or all."""
        for place, watchers in self._watchers.items():
            if resource in (None, place.resource):
                for watcher in watchers:
                    watcher.close()

    def _events_after(self, revision: int) -> list[Event]:
        if revision < self.compacted:
            raise ExpiredError(revision, self.compacted)
        if revision >= self.revision:
            return []
        recent = list(self._recent)
        return recent[bisect_right(recent, revision, key=lambda event: event.revision) :]

    def _remember(self, event: Event) -> None:
        self._recent.append(event)
        self._recent_bytes += len(event.stored.data)
        while len(self._recent) > self.window.events or self._recent_bytes > self.window.bytes:
            oldest = self._recent.popleft()
            self._recent_bytes -= len(oldest.stored.data)
            self.compacted = oldest.revision
