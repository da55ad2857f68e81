"""The database file: its directory's lock, its schema, its health, and reading it back at start.

Two tables: ``revisions`` is append-only (compaction drops superseded rows from its old end), ``current`` names for each
object the revision that holds its present state.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.lab.apiserver.errors import DatabaseUnusableError
from isthmus.lab.apiserver.objects import Key, Stored
from isthmus.lab.apiserver.storage.integrity import DamagedError, check_content, check_tables, checksum

APPLICATION_ID = 0x6973746D
SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE revisions (
    revision  INTEGER PRIMARY KEY,
    previous  INTEGER NOT NULL,  -- the object's revision before, 0 when this one created it
    deleted   INTEGER NOT NULL,  -- 1: data is the object's last state
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    data      BLOB NOT NULL,
    checksum  INTEGER NOT NULL
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


def prepare(path: Path) -> None:
    """Make the file if it is not there, complete from its first moment; bring one of an older version to ours.

    Raises DatabaseUnusableError when the file is no database, is damaged, or is of another version.
    """
    with _refusing_damage(path):
        if not path.exists():
            _refuse_left_log(path)
            _make(path)
            return
        with _read_only(path) as connection:
            if not _is_first_version(connection):
                return
            check_content(connection)
        with closing(_connect(path)) as connection:
            _add_checksums(connection)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that is whole, for the time of the block. Neither the file nor its log is changed.

    Raises DatabaseUnusableError when the file is no database, is damaged, or is of another version, also for what the
    block finds.
    """
    with _refusing_damage(path), _read_only(path) as connection:
        _check_version(connection, path)
        check_tables(connection, schema=_SCHEMA)
        check_content(connection)
        yield connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one connection that writes, to a file that was found to be whole.

    Raises DatabaseUnusableError when it can't be written to.
    """
    with _refusing_damage(path):
        connection = _connect(path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # a restored backup may have another one
            connection.execute("PRAGMA wal_autocheckpoint=1000")
            connection.execute("BEGIN IMMEDIATE")  # it can be written to
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    return connection


_WHAT_TO_DO = "restore its backup or move it away, in both cases together with its -wal and -shm"
"""A log that stays beside another file than its own would be read as a part of that."""


@contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    """Whatever shows that the file is damaged becomes a DatabaseUnusableError."""
    try:
        yield
    except (sqlite3.Error, DamagedError, UnicodeDecodeError) as error:  # the last: of SQLite's own messages
        raise DatabaseUnusableError(
            f"Opening database '{path}': it is damaged or not readable ({error}); {_WHAT_TO_DO}"
        ) from error


@contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """The end of a connection that may write would write the log of a killed server into the file."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        yield connection


def _refuse_left_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise DamagedError(f"{log.name} is there without it")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA synchronous=FULL")  # in WAL mode: every commit is on the disk before it returns
    return connection


def _make(path: Path) -> None:
    """A new database under its name only when it is complete: one without tables is never taken for a new one."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    connection = _connect(new)
    try:
        new.chmod(0o600)
        stamp = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {stamp} COMMIT;")
        connection.execute("PRAGMA journal_mode=WAL")  # now: a kill while it changes leaves what only a writer can mend
    finally:
        connection.close()
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _versions(connection: sqlite3.Connection) -> tuple[int, int]:
    """The application and its version that a file says to be of."""
    application, version = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    return application, version


def _is_first_version(connection: sqlite3.Connection) -> bool:
    return _versions(connection) == (APPLICATION_ID, 1)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    application, version = _versions(connection)
    if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
        raise DatabaseUnusableError(
            f"Opening database '{path}': it is not of this server's version (application {application:#x} version"
            f" {version}, expected {APPLICATION_ID:#x} version {SCHEMA_VERSION}); {_WHAT_TO_DO}"
        )


def _add_checksums(connection: sqlite3.Connection) -> None:
    """From version 1, whose revisions had none."""
    connection.create_function(
        "checksum_of",
        7,
        lambda revision, previous, deleted, *rest: checksum(revision, previous, deleted, Key(*rest[:3]), rest[3]),
    )
    connection.executescript(
        f"""BEGIN IMMEDIATE;
        DROP INDEX successors;
        ALTER TABLE revisions RENAME TO revisions_1;
        ALTER TABLE current RENAME TO current_1;
        ALTER TABLE counters RENAME TO counters_1;
        {_SCHEMA}
        INSERT INTO revisions SELECT *, checksum_of(revision, previous, deleted, resource, namespace, name, data)
            FROM revisions_1;
        INSERT INTO current SELECT * FROM current_1;
        INSERT OR REPLACE INTO counters SELECT * FROM counters_1;
        DROP TABLE revisions_1; DROP TABLE current_1; DROP TABLE counters_1;
        PRAGMA user_version={SCHEMA_VERSION};
        COMMIT;"""  # noqa: S608  # constants only
    )


def counter(connection: sqlite3.Connection, name: str) -> int:
    """``revision``: the last one given. ``compacted``: revisions up to it may be gone."""
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(row[0])


_COLUMNS = "r.revision, r.previous, r.deleted, r.resource, r.namespace, r.name, r.data, r.checksum"


def read_current(connection: sqlite3.Connection) -> Iterator[Stored]:
    """Every object in its present state. Like the others, raises DamagedError for a revision that was changed."""
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


def _row(row: tuple[int, int, int, str, str, str, Any, int]) -> Row:
    revision, previous, deleted, resource, namespace, name, data, stored_checksum = row
    key = Key(resource, namespace, name)
    # A changed byte may make a text, a number or nothing of it: SQLite's columns hold values of any type.
    if not isinstance(data, bytes) or checksum(revision, previous, deleted, key, data) != stored_checksum:
        raise DamagedError(f"revision {revision} of {resource} '{namespace}/{name}' is not what was written")
    return Row(Stored(key, revision, data), previous, bool(deleted))
