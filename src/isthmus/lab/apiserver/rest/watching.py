"""Watch: the events of a resource as lines of JSON, from a resource version on.

Source: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists".
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from isthmus.lab.apiserver.errors import StatusError, expired
from isthmus.lab.apiserver.objects import Stored, encode_json
from isthmus.lab.apiserver.rest.answers import Stream
from isthmus.lab.apiserver.rest.options import ListOptions
from isthmus.lab.apiserver.rest.reading import check_revision
from isthmus.lab.apiserver.rest.sight import Sight
from isthmus.lab.apiserver.rest.tables import TableRequest, table
from isthmus.lab.apiserver.rest.target import Target
from isthmus.lab.apiserver.rest.views import shown, shown_object
from isthmus.lab.apiserver.storage import Event, Watcher
from isthmus.lab.apiserver.storage.state import ExpiredError, State

BOOKMARK_EVERY_S = 60.0
DEFAULT_TIMEOUT_S = 1800.0
INITIAL_CHUNK = 256
END_OF_INITIAL = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What is watched, how it is to be written, and what of it is seen (None: all)."""

    target: Target
    options: ListOptions
    tabular: TableRequest | None
    clock: Callable[[], datetime]
    sight: Sight | None = None


def open_watch(state: State, request: WatchRequest) -> Stream:
    """The stream of a watch. Raises StatusError when it can't begin; a version that is too old is an event instead."""
    target, options, sight = request.target, request.options, request.sight
    check_revision(state, options.revision)
    whole = options.initial_events or (options.initial_events is None and not options.revision)
    since = state.revision if whole else options.revision or state.revision
    initial = state.listed(target.resource.storage, target.namespace) if whole else []
    place = (target.resource.storage, target.namespace, since, options.selection.name)
    try:
        if sight is not None:
            sight.begin(since)
        watcher = state.watch_since(*place, also=sight.resources if sight else ())
    except ExpiredError as error:
        return Stream(_refusal(expired(str(error))), media_type="application/json")
    chosen = [one for one in initial if options.selection.matches(one) and (sight is None or sight.sees(one))]
    lines = _Lines(request).stream(chosen, state, watcher, begun_at=state.revision)
    return Stream(lines, media_type="application/json", ended=lambda: state.unwatch(watcher))


async def _refusal(error: StatusError) -> AsyncGenerator[bytes]:
    yield _error_line(error)


def _error_line(error: StatusError) -> bytes:
    return b'{"type":"ERROR","object":%s}\n' % encode_json(error.status())


class _Lines:
    """Writes the events of one watch."""

    def __init__(self, request: WatchRequest) -> None:
        self._request = request
        self._resource = request.target.resource
        self._selection = request.options.selection
        self._headed = True

    async def stream(
        self, initial: list[Stored], state: State, watcher: Watcher, *, begun_at: int
    ) -> AsyncGenerator[bytes]:
        """``begun_at``: the revision at which the initial objects were read, and after which the watcher hears all."""
        for start in range(0, len(initial), INITIAL_CHUNK):
            yield b"".join([self._line(b"ADDED", one) for one in initial[start : start + INITIAL_CHUNK]])
        if self._request.options.initial_events:
            yield self._bookmark(begun_at, end_of_initial=True)
        deadline = time.monotonic() + (self._request.options.timeout_s or DEFAULT_TIMEOUT_S)
        bookmark = time.monotonic() + BOOKMARK_EVERY_S
        while True:
            events = await watcher.wait_events(max(0.0, min(deadline, bookmark) - time.monotonic()))
            revision = state.revision  # every event up to it has been taken
            if chunk := self._lines(events):
                yield chunk
            if watcher.overflowed:
                yield _error_line(expired("the watch fell too far behind and was ended; list again"))
                return
            now = time.monotonic()
            ending = watcher.closed or now >= deadline
            if self._request.options.bookmarks and (now >= bookmark or ending):
                yield self._bookmark(revision)
            if ending:
                return
            if now >= bookmark:
                bookmark = now + BOOKMARK_EVERY_S

    def _lines(self, events: Iterable[Event]) -> bytes:
        sight = self._request.sight
        seen = events if sight is None else sight.events(events)
        return b"".join([line for event in seen if (line := self._event(event))])

    def _event(self, event: Event) -> bytes:
        """The event as the selection sees it: an object that leaves it is deleted, one that enters it is added."""
        before = event.previous is not None and self._selection.matches(event.previous)
        after = not event.deleted and self._selection.matches(event.stored)
        if before and not after:
            return self._line(b"DELETED", event.stored)
        if not after:
            return b""
        return self._line(b"MODIFIED" if before else b"ADDED", event.stored)

    def _line(self, kind: bytes, stored: Stored) -> bytes:
        if self._request.tabular is None:
            return b'{"type":"%s","object":%s}\n' % (kind, shown(self._resource, stored.data))
        return b'{"type":"%s","object":%s}\n' % (kind, self._table(stored, self._request.tabular))

    def _table(self, stored: Stored, wanted: TableRequest) -> bytes:
        headed, self._headed = self._headed, False
        objects = [shown_object(self._resource, stored)]
        meta = {"resourceVersion": str(stored.revision)}
        now = self._request.clock()
        return encode_json(table(self._resource, objects, wanted, now=now, metadata=meta, headed=headed))

    def _bookmark(self, revision: int, *, end_of_initial: bool = False) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if end_of_initial:
            meta["annotations"] = {END_OF_INITIAL: "true"}
        obj: dict[str, Any] = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
        if self._request.tabular is not None:
            wanted = self._request.tabular
            obj = table(self._resource, [], wanted, now=self._request.clock(), metadata=meta, headed=self._headed)
        return b'{"type":"BOOKMARK","object":%s}\n' % encode_json(obj)
