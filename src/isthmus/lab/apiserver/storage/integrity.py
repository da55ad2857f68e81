"""Whether a database is whole: what SQLite itself cannot tell, because a changed byte of an object is no error to it.

Every revision carries a checksum of all that is stored with it. The tables are compared with each other, and the schema
with the one that this server makes.
"""

from __future__ import annotations

import sqlite3
import zlib

from isthmus.lab.apiserver.objects import Key


class DamagedError(Exception):
    """Something in the database is not as it was written; the message says what."""


def checksum(revision: int, previous: int, deleted: int, key: Key, data: bytes) -> int:
    """CRC-32 of a revision, with its number and its key."""
    head = f"{revision}\0{previous}\0{deleted}\0{key.resource}\0{key.namespace}\0{key.name}\0"
    return zlib.crc32(data, zlib.crc32(head.encode()))


def check_tables(connection: sqlite3.Connection, *, schema: str) -> None:
    """Raises DamagedError, and sqlite3.Error for what SQLite notices while it reads; so does the other."""
    if _tables(connection) != _expected(schema):
        raise DamagedError("its tables are not those that this server makes")


def check_content(connection: sqlite3.Connection) -> None:
    """What is in the tables, with or without the checksums of the revisions."""
    health = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if health != "ok":
        raise DamagedError(health)
    for meaning, query in _CHECKS.items():
        found = connection.execute(query).fetchone()[0]
        if found != 0:  # nothing at all is wrong too
            raise DamagedError(f"{meaning}: {found}")


_CHECKS = {
    "objects without the revision that holds their state": """
        SELECT count(*) FROM current c LEFT JOIN revisions r ON r.revision = c.revision WHERE r.revision IS NULL
        OR r.deleted OR (r.resource, r.namespace, r.name) IS NOT (c.resource, c.namespace, c.name)""",
    "states that are neither superseded nor present": """
        SELECT count(*) - (SELECT count(*) FROM current) FROM revisions r WHERE NOT r.deleted AND NOT EXISTS
        (SELECT 1 FROM revisions n WHERE n.previous = r.revision AND n.previous > 0)""",
    "revisions that were given and are not there": """
        SELECT (SELECT value FROM counters WHERE name = 'revision') - coalesce(max(revision), 0) FROM revisions""",
    "counters that cannot be": """
        SELECT count(*) != 2 OR sum(name IN ('revision', 'compacted') AND typeof(value) = 'integer' AND value >= 0) != 2
        OR max(value * (name = 'compacted')) > max(value * (name = 'revision')) FROM counters""",
    "revisions since the last compaction that are missing": """
        SELECT (SELECT max(value) - min(value) FROM counters) - count(*) FROM revisions
        WHERE revision > (SELECT min(value) FROM counters)""",
}
"""What each query finds when something is wrong; 0 in a database that is whole."""


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()


def _expected(schema: str) -> list[tuple[str, str]]:
    empty = sqlite3.connect(":memory:")
    try:
        empty.executescript(schema)
        return _tables(empty)
    finally:
        empty.close()
