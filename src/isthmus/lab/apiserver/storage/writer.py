"""The one writer: a thread that commits queued writes in groups, each acknowledged after its commit.

Contract: a write is stored completely or not at all; the revision is given inside the transaction; results are handed
to ``committed`` on the event loop in the order of their revisions. With ``synchronous=FULL`` an acknowledged write
survives the loss of the process and of power: its commit returns after the write-ahead log is on the disk.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.lab.apiserver.errors import RevisionConflictError, StorageRefusedError
from isthmus.lab.apiserver.objects import Encoded, Key, Stored
from isthmus.lab.apiserver.storage.integrity import checksum

GROUP_LIMIT = 256
COMPACTION_ROWS = 500


@dataclass(frozen=True, slots=True)
class Write:
    """One write. ``expected`` is the revision that the object must have, None when it must not exist."""

    key: Key
    expected: int | None
    encoded: Encoded
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """A write that is stored."""

    write: Write
    stored: Stored


Outcome = Committed | RevisionConflictError
Acknowledge = asyncio.Future[Stored]


@dataclass(frozen=True, slots=True)
class _Compact:
    through: int


class Writer:
    """Owns the writing connection and its thread.

    ``revision`` is the last one given; ``committed`` is called on the loop before the futures are set, which they are
    even if it raises: then the loop logs the error.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        revision: int,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[list[Committed]], None],
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._committed = committed
        self._revision = revision
        self._queue: queue.SimpleQueue[tuple[Write, Acknowledge] | _Compact | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="apiserver writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def write(self, write: Write) -> Stored:
        """Store one write; returns after its commit.

        Raises RevisionConflictError when the object is not at ``write.expected``, StorageRefusedError when the database
        can't take it (disk full, locked).
        """
        acknowledge: Acknowledge = self._loop.create_future()
        self._queue.put((write, acknowledge))
        return await acknowledge

    def compact(self, through: int) -> None:
        """Drop, in the background, superseded revisions up to the given one."""
        self._queue.put(_Compact(through))

    def stop(self) -> None:
        """Commit what is queued and end the thread; blocks until it has ended."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Compact):
                self._compact(item)
                continue
            group, after = self._collect(item)
            self._commit(group)
            if isinstance(after, _Compact):
                self._compact(after)
            elif after is _STOP:
                return

    def _collect(self, first: tuple[Write, Acknowledge]) -> tuple[list[tuple[Write, Acknowledge]], object]:
        """The writes that wait right now, and what ended them: a compaction, the stop, or nothing."""
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, _STOP
            if isinstance(item, _Compact):
                return group, item
            group.append(item)
        return group, None

    def _commit(self, group: list[tuple[Write, Acknowledge]]) -> None:
        before = self._revision
        outcomes: list[Outcome] | StorageRefusedError
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(write) for write, _ in group]
            self._connection.execute("UPDATE counters SET value = ? WHERE name = 'revision'", (self._revision,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._revision = before
            outcomes = self._abandon(error)
        acknowledges = [acknowledge for _, acknowledge in group]
        self._loop.call_soon_threadsafe(self._settle, acknowledges, outcomes)

    def _abandon(self, error: sqlite3.Error) -> StorageRefusedError:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return StorageRefusedError(str(error), full=error.sqlite_errorname == "SQLITE_FULL")

    def _apply(self, write: Write) -> Outcome:
        actual = self._actual(write.key)
        if actual != write.expected:
            return RevisionConflictError(write.expected, actual)
        self._revision += 1
        data = write.encoded.at(self._revision)
        row = (self._revision, actual or 0, int(write.deleted))
        self._connection.execute(
            "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, *write.key, data, checksum(*row, write.key, data)),
        )
        self._point(write, actual)
        return Committed(write, Stored(write.key, self._revision, data))

    def _point(self, write: Write, actual: int | None) -> None:
        if write.deleted:
            self._connection.execute("DELETE FROM current WHERE revision = ?", (actual,))
        elif actual is None:
            self._connection.execute("INSERT INTO current VALUES (?, ?, ?, ?)", (self._revision, *write.key))
        else:
            self._connection.execute("UPDATE current SET revision = ? WHERE revision = ?", (self._revision, actual))

    def _actual(self, key: Key) -> int | None:
        query = "SELECT revision FROM current WHERE resource = ? AND namespace = ? AND name = ?"
        row = self._connection.execute(query, key).fetchone()
        return int(row[0]) if row else None

    def _settle(self, acknowledges: list[Acknowledge], outcomes: list[Outcome] | StorageRefusedError) -> None:
        """On the loop: tell the state first, so that whoever is woken reads what it wrote."""
        if isinstance(outcomes, StorageRefusedError):
            for acknowledge in acknowledges:
                if not acknowledge.done():
                    acknowledge.set_exception(outcomes)
            return
        try:
            self._committed([outcome for outcome in outcomes if isinstance(outcome, Committed)])
        finally:
            self._answer(acknowledges, outcomes)

    @staticmethod
    def _answer(acknowledges: list[Acknowledge], outcomes: list[Outcome]) -> None:
        for acknowledge, outcome in zip(acknowledges, outcomes, strict=True):
            if acknowledge.done():
                continue  # the client went away; the write stands
            if isinstance(outcome, Committed):
                acknowledge.set_result(outcome.stored)
            else:
                acknowledge.set_exception(outcome)

    def _compact(self, request: _Compact) -> None:
        # Oldest first: a row is known to be superseded as long as its successor is still there.
        query = (
            "DELETE FROM revisions WHERE revision IN (SELECT r.revision FROM revisions r WHERE r.revision <= :through"
            " AND (r.deleted OR EXISTS (SELECT 1 FROM revisions n WHERE n.previous = r.revision AND n.previous > 0"
            " AND n.revision <= :through)) ORDER BY r.revision LIMIT :rows)"
        )
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            done = self._connection.execute(query, {"through": request.through, "rows": COMPACTION_ROWS}).rowcount
            self._connection.execute(
                "UPDATE counters SET value = max(value, ?) WHERE name = 'compacted'", (request.through,)
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(error)  # nothing is lost: the next compaction covers these rows too
            return
        if done == COMPACTION_ROWS:
            self._queue.put(request)


_STOP = object()
