"""Logs of containers: what is written, and what is read back."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.node import logs
from isthmus.lab.node.logs import ContainerLog, LogStore, frame, unframe

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
STAMP = "2026-01-01T12:00:00.123456000Z"


async def read(
    store: LogStore,
    *,
    tail: int | None = None,
    since: datetime | None = None,
    stamps: bool = False,
    previous: bool = False,
) -> str:
    pieces = store.open(
        namespace="shop",
        pod="web",
        uid="uid",
        container="c",
        follow=False,
        tail_lines=tail,
        since=since,
        timestamps=stamps,
        previous=previous,
    )
    return b"".join([piece async for piece in pieces]).decode()


def following(store: LogStore) -> AsyncIterator[bytes]:
    """The log from its last line on."""
    return store.open(
        namespace="shop",
        pod="web",
        uid="uid",
        container="c",
        follow=True,
        tail_lines=1,
        since=None,
        timestamps=False,
        previous=False,
    )


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path)


@pytest.fixture
def log(store: LogStore) -> Iterator[ContainerLog]:
    log = store.begin("uid", "c", 1)
    for number in range(5):
        log.write("stdout", f"line {number}\n".encode(), now=NOW + timedelta(seconds=number))
    yield log
    log.close(now=NOW)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_what_goes_in_comes_out(pieces: list[bytes]) -> None:
    """Whatever the pieces in which output arrives, its lines are read back as they were."""
    framed, rest = b"", b""
    for piece in pieces:
        more, rest = frame(rest + piece, stream="stdout", now=NOW)
        framed += more
    back = b"".join(
        unframe(line, timestamps=False, since=None) or b""
        for line in framed.split(b"\n")[:-1]
        for line in [line + b"\n"]
    )
    assert back + rest == b"".join(pieces)


def test_a_long_line_is_written_in_parts() -> None:
    """A line longer than 16 KiB takes several entries, and is one line again when read."""
    line = b"x" * (logs.LONGEST_LINE_BYTES * 2 + 5) + b"\n"
    framed, _ = frame(line, stream="stdout", now=NOW)
    entries = framed.splitlines(keepends=True)
    assert [entry.split(b" ", 3)[2] for entry in entries] == [b"P", b"P", b"F"]
    assert b"".join(unframe(entry, timestamps=False, since=None) or b"" for entry in entries) == line


@pytest.mark.usefixtures("log")
async def test_all_of_it(store: LogStore) -> None:
    """Without options the whole log is given."""
    assert await read(store) == "line 0\nline 1\nline 2\nline 3\nline 4\n"


@pytest.mark.usefixtures("log")
async def test_options(store: LogStore) -> None:
    """The last lines, those since a moment, and with their times."""
    assert await read(store, tail=2) == "line 3\nline 4\n"
    assert await read(store, tail=0) == ""
    assert await read(store, tail=100) == "line 0\nline 1\nline 2\nline 3\nline 4\n"
    assert await read(store, since=NOW + timedelta(seconds=4)) == "line 4\n"
    assert (await read(store, stamps=True)).startswith(f"{STAMP} line 0\n")


async def test_follow(store: LogStore, log: ContainerLog) -> None:
    """A follower gets what is written later, and ends with the container."""
    pieces = following(store)
    assert await anext(pieces) == b"line 4\n"
    log.write("stderr", b"more", now=NOW)
    log.write("stderr", b" of it\nand a rest", now=NOW)
    log.close(now=NOW)
    assert b"".join([piece async for piece in pieces]) == b"more of it\nand a rest\n"


async def test_previous(store: LogStore, log: ContainerLog) -> None:
    """The log of the run before the last is kept, older ones are not."""
    with pytest.raises(LookupError, match='previous terminated container "c" in pod "shop/web" not found'):
        await read(store, previous=True)
    log.close(now=NOW)
    for run in (2, 3):
        later = store.begin("uid", "c", run)
        later.write("stdout", f"run {run}\n".encode(), now=NOW)
        later.close(now=NOW)
    assert await read(store) == "run 3\n"
    assert await read(store, previous=True) == "run 2\n"
    assert len(list(log.path.parent.iterdir())) == 2


async def test_rotation(store: LogStore, log: ContainerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log does not grow for ever: it is rotated, the part before is still read, and a follower goes on."""
    monkeypatch.setattr(logs, "ROTATE_BYTES", 2000)
    pieces = following(store)
    assert await anext(pieces) == b"line 4\n"
    for number in range(30):
        log.write("stdout", f"new {number}\n".encode(), now=NOW)
        assert await anext(pieces) == f"new {number}\n".encode()
    log.close(now=NOW)
    assert [piece async for piece in pieces] == []
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) <= 4000
    assert (await read(store)).endswith("new 28\nnew 29\n")
