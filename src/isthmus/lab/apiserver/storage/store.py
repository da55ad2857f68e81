"""The store: the state in memory kept equal to the database, and writes that reach both.

Reads are answered from memory; the database is read once, at start. Compaction follows the window of recent events, so
that a resource version is either completely kept or reported as expired.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from isthmus.lab.apiserver.objects import Stored
from isthmus.lab.apiserver.storage.database import (
    counter,
    database_path,
    locked_directory,
    open_for_writing,
    prepare,
    read_current,
    read_revision,
    read_since,
    reading,
)
from isthmus.lab.apiserver.storage.state import Event, State, Window
from isthmus.lab.apiserver.storage.writer import Committed, Write, Writer

COMPACTIONS_PER_WINDOW = 8
"""The database drops old revisions when an eighth of a window has passed: rarely enough to cost nothing."""

Observer = Callable[[Event], None]


class Store:
    """Objects under keys, with revisions. Made by ``open_store``; used on one event loop."""

    def __init__(self, connection: sqlite3.Connection, state: State) -> None:
        self.state = state
        self._compacted = state.compacted
        self._observers: list[Observer] = []
        loop = asyncio.get_running_loop()
        self._writer = Writer(connection, revision=state.revision, loop=loop, committed=self._apply)

    def observe(self, observer: Observer) -> None:
        """Call ``observer`` with each change, in order, before the writer's caller goes on.

        One that raises keeps nobody from anything: others are told, and the write is answered. The loop logs the error.
        """
        self._observers.append(observer)

    async def write(self, write: Write) -> Stored:
        """Store one write; returns once it is committed and visible.

        Raises RevisionConflictError, StorageRefusedError.
        """
        return await self._writer.write(write)

    def start(self) -> None:
        self._writer.start()

    def stop(self) -> None:
        """Commit what is queued; blocks until done."""
        self._writer.stop()

    def _apply(self, committed: list[Committed]) -> None:
        failures: list[Exception] = []
        for one in committed:
            event = Event(one.stored, self.state.get(one.stored.key), deleted=one.write.deleted)
            self.state.apply(event)
            failures += self._tell(event)
        if self.state.compacted >= self._compacted + self.state.window.events // COMPACTIONS_PER_WINDOW:
            self._compacted = self.state.compacted
            self._writer.compact(self._compacted)
        if failures:
            raise ExceptionGroup("Observers of what was stored failed", failures)

    def _tell(self, event: Event) -> list[Exception]:
        """What observers raised: what is committed has to be in memory, all of it, before that goes further."""
        failures = []
        for observer in self._observers:
            try:
                observer(event)
            except Exception as error:
                error.add_note(f"on revision {event.revision} of {'/'.join(event.key)}")
                failures.append(error)
        return failures


@asynccontextmanager
async def open_store(data_dir: Path, *, window: Window | None = None) -> AsyncIterator[Store]:
    """The store in a directory, locked against a second server while open.

    Raises DatabaseUnusableError when the directory is taken or the database is damaged.
    """
    with ExitStack() as stack:
        connection, state = await asyncio.to_thread(_open, data_dir, window or Window(), stack)
        store = Store(connection, state)
        store.start()
        try:
            yield store
        finally:
            state.close_watchers()
            await asyncio.to_thread(store.stop)


def _open(data_dir: Path, window: Window, stack: ExitStack) -> tuple[sqlite3.Connection, State]:
    stack.enter_context(locked_directory(data_dir))
    path = database_path(data_dir)
    prepare(path)
    with reading(path) as connection:
        revision, compacted = counter(connection, "revision"), counter(connection, "compacted")
        state = State(revision=revision, compacted=compacted, window=window)
        state.load(read_current(connection), _events(connection, state.compacted))
    writing = open_for_writing(path)
    stack.callback(writing.close)
    return writing, state


def _events(connection: sqlite3.Connection, after: int) -> Iterator[Event]:
    """The kept events with the states before them, out of a reading of all rows in order."""
    seen: dict[int, Stored] = {}
    for row in read_since(connection, after):
        previous = None
        if row.previous:
            previous = seen.pop(row.previous, None) or read_revision(connection, row.previous)
        if not row.deleted:
            seen[row.stored.revision] = row.stored
        yield Event(row.stored, previous, deleted=row.deleted)
