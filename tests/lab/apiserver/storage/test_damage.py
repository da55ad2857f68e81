"""A damaged file: refused with an error that says so, never half believed, never made anew."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isthmus.lab.apiserver.errors import DatabaseUnusableError
from isthmus.lab.apiserver.objects import Encoded, Key
from isthmus.lab.apiserver.storage import Window, Write
from isthmus.lab.apiserver.storage.database import database_path
from isthmus.lab.apiserver.storage.store import open_store

Content = tuple[int, int, list[tuple[Key, int, bytes]], list[tuple[Key, int, bytes, bool]]]
WINDOW = Window(events=24)


async def fill(directory: Path) -> None:
    """Objects that came, changed and went, some of it compacted."""
    async with open_store(directory, window=WINDOW) as store:
        revisions: dict[Key, int] = {}
        for number in range(80):
            key = Key("configmaps", "default", f"n{number % 23}")
            deleted = number % 7 == 3 and key in revisions
            encoded = Encoded(b'{"metadata":{"resourceVersion":"', b'"},"n":"%s"}' % (b"%d" % number * 30))
            stored = await store.write(Write(key, revisions.get(key), encoded, deleted=deleted))
            revisions[key] = stored.revision
            if deleted:
                del revisions[key]


async def content(directory: Path) -> Content:
    async with open_store(directory, window=WINDOW) as store:
        state = store.state
        watcher = state.watch_since("configmaps", "", state.compacted)
        events = await watcher.wait_events(0)
        return (
            state.revision,
            state.compacted,
            [(one.key, one.revision, one.data) for one in state.listed("configmaps")],
            [(one.key, one.revision, one.stored.data, one.deleted) for one in events],
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    directory = tmp_path_factory.mktemp("whole")
    asyncio.run(fill(directory))
    return directory, asyncio.run(content(directory))


@pytest.mark.slow
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), length=st.sampled_from([1, 1, 1, 64, 4096]))
@example(place=0.0, bit=0, length=1)
def test_a_changed_byte_is_noticed(
    whole: tuple[Path, Content], tmp_path: Path, place: float, bit: int, length: int
) -> None:
    """Whatever is changed in the file, it is refused, or everything is read as it was written."""
    directory, expected = whole
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    path = database_path(copy)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    for index in range(start, min(start + length, len(data))):
        data[index] ^= 1 << bit
    path.write_bytes(data)
    try:
        found = asyncio.run(content(copy))
    except DatabaseUnusableError as refused:
        message = str(refused)
    else:
        revision, _, objects, events = expected
        assert (found[0], found[2]) == (revision, objects)
        assert found[3] == events[len(events) - len(found[3]) :], "what is kept of the past is as it was"
        return
    assert str(path) in message
    assert "move it away" in message
    assert path.read_bytes() == bytes(data), "what was refused is not touched"


def files(directory: Path) -> dict[str, bytes]:
    """The database, and what is not in it yet."""
    path = database_path(directory)
    return {one.name: one.read_bytes() for one in (path, path.with_name(path.name + "-wal")) if one.exists()}


async def killed(directory: Path, copy: Path) -> None:
    """What a server leaves that was killed while it had things in its write-ahead log."""
    async with open_store(directory, window=WINDOW) as store:
        await store.write(Write(Key("configmaps", "default", "last"), None, LAST))
        await asyncio.to_thread(shutil.copytree, directory, copy)


LAST = Encoded(b'{"metadata":{"resourceVersion":"', b'"}}')


def damaged(directory: Path, statement: str) -> Path:
    """A copy of the files with damage in the write-ahead log that SQLite itself does not know as such."""
    copy = directory.with_name("damaged")
    other = sqlite3.connect(database_path(directory), isolation_level=None)
    other.execute(statement)
    shutil.copytree(directory, copy)  # before the end of the connection writes the log into the database
    other.close()
    return copy


async def test_a_killed_servers_damaged_files_are_left_as_they_are(tmp_path: Path) -> None:
    """A refusal changes neither the database nor its write-ahead log: both are there to be looked at, or restored."""
    await fill(tmp_path / "data")
    await killed(tmp_path / "data", tmp_path / "copy")
    directory = damaged(tmp_path / "copy", "UPDATE revisions SET data = x'00' WHERE revision = 80")
    before = files(directory)
    assert len(before["state.db-wal"]) > 0
    with pytest.raises(DatabaseUnusableError, match=r"revision 80 of .*together with its -wal and -shm"):
        await content(directory)
    assert files(directory) == before


async def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    """What is left of a database that was moved away is never mixed into a new one."""
    copy = tmp_path / "copy"
    await killed(tmp_path / "data", copy)
    database_path(copy).unlink()
    before = files(copy)
    with pytest.raises(DatabaseUnusableError, match=r"state\.db-wal is there without it"):
        await content(copy)
    assert files(copy) == before


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
async def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    """A file that has lost its end, or all of it, is not made anew."""
    await fill(tmp_path)
    path = database_path(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatabaseUnusableError, match="restore its backup or move it away"):
        await content(tmp_path)
    assert path.stat().st_size == size


async def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    """What a kill leaves of a file that was not complete yet is no obstacle."""
    path = database_path(tmp_path)
    path.with_name(path.name + ".new").write_bytes(b"half")
    await fill(tmp_path)
    assert (await content(tmp_path))[0] == 80


def make_first_version(directory: Path) -> None:
    first = sqlite3.connect(database_path(directory), isolation_level=None)
    first.executescript(
        "ALTER TABLE revisions DROP COLUMN checksum; PRAGMA user_version=1; PRAGMA wal_checkpoint(TRUNCATE);"
    )
    first.close()


async def test_a_damaged_file_of_the_first_version_is_left_as_it_is(tmp_path: Path) -> None:
    """A file without checksums is looked at before it is taken over, and refused untouched."""
    await fill(tmp_path / "data")
    make_first_version(tmp_path / "data")
    directory = damaged(tmp_path / "data", "DELETE FROM revisions WHERE revision = 79")
    before = files(directory)
    with pytest.raises(DatabaseUnusableError, match="objects without the revision that holds their state: 1"):
        await content(directory)
    assert files(directory) == before


async def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """A file without checksums gets them, and holds what it held."""
    await fill(tmp_path)
    expected = await content(tmp_path)
    make_first_version(tmp_path)
    assert await content(tmp_path) == expected
    assert await content(tmp_path) == expected


async def test_another_version_is_refused(tmp_path: Path) -> None:
    """A file of a later version is not touched."""
    await fill(tmp_path)
    later = sqlite3.connect(database_path(tmp_path))
    later.execute("PRAGMA user_version=99")
    later.close()
    with pytest.raises(DatabaseUnusableError, match=r"version 99, expected .* version 2"):
        await content(tmp_path)
