"""The database file: its directory's lock, its schema, its health, and reading it back at start.

Two tables: ``revisions`` is append-only (compaction drops superseded rows from its old end), ``current`` names for each
object the revision that holds its present state.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from isthmus.lab.apiserver.errors import DatabaseUnusableError
from isthmus.lab.apiserver.objects import Key, Stored

APPLICATION_ID = 0x6973746D
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE revisions (
    revision  INTEGER PRIMARY KEY,
    previous  INTEGER NOT NULL,  -- the object's revision before, 0 when this one created it
    deleted   INTEGER NOT NULL,  -- 1: data is the object's last state
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    data      BLOB NOT NULL
);
CREATE TABLE current (
    revision  INTEGER PRIMARY KEY,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    UNIQUE (resource, namespace, name)
);
CREATE INDEX successors ON revisions (previous) WHERE previous > 0;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('compacted', 0), ('revision', 0);
"""


class Row(NamedTuple):
    """One revision as read back."""

    stored: Stored
    previous: int
    deleted: bool


def database_path(data_dir: Path) -> Path:
    return data_dir / "state.db"


@contextmanager
def locked_directory(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process alone.

    Raises DatabaseUnusableError when another server has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise DatabaseUnusableError(
            f"Opening data directory '{data_dir}': another API server is using it;"
            " stop that one or choose another directory"
        ) from error
    try:
        yield
    finally:
        os.close(handle)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes the schema in a new file.

    Raises DatabaseUnusableError when the file is no database, is damaged, or is of another version.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=1000")
        _prepare(connection, path)
    except sqlite3.Error as error:
        raise DatabaseUnusableError(
            f"Opening database '{path}': {error}; the file is damaged or not readable: restore it or move it away"
        ) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if (application, version) == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        stamp = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {stamp} COMMIT;")
        return
    if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
        raise DatabaseUnusableError(
            f"Opening database '{path}': it is not of this server's version"
            f" (application {application:#x} version {version}, expected {APPLICATION_ID:#x} version {SCHEMA_VERSION})"
        )
    health = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if health != "ok":
        raise DatabaseUnusableError(f"Opening database '{path}': it is damaged ({health}); restore it or move it away")


def counter(connection: sqlite3.Connection, name: str) -> int:
    """``revision``: the last one given. ``compacted``: revisions up to it may be gone."""
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(row[0])


_COLUMNS = "r.revision, r.previous, r.deleted, r.resource, r.namespace, r.name, r.data"


def read_current(connection: sqlite3.Connection) -> Iterator[Stored]:
    """Every object in its present state."""
    for row in connection.execute(f"SELECT {_COLUMNS} FROM current c JOIN revisions r ON r.revision = c.revision"):  # noqa: S608  # constant columns
        yield _row(row).stored


def read_since(connection: sqlite3.Connection, revision: int) -> Iterator[Row]:
    """Every kept revision after the given one, in order."""
    query = f"SELECT {_COLUMNS} FROM revisions r WHERE r.revision > ? ORDER BY r.revision"  # noqa: S608  # constant columns
    for row in connection.execute(query, (revision,)):
        yield _row(row)


def read_revision(connection: sqlite3.Connection, revision: int) -> Stored | None:
    """The object as it was written at exactly that revision, if it is kept."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM revisions r WHERE r.revision = ?", (revision,)).fetchone()  # noqa: S608  # constant columns
    return _row(row).stored if row else None


def _row(row: tuple[int, int, int, str, str, str, bytes]) -> Row:
    revision, previous, deleted, resource, namespace, name, data = row
    return Row(Stored(Key(resource, namespace, name), revision, data), previous, bool(deleted))
