"""Logs of containers: what is written, and what is read back."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.node import log_files
from isthmus.lab.node.log_files import ContainerLog, LogReader, RunFiles, first_place, place_of_last
from isthmus.lab.node.log_lines import LONGEST_LINE_BYTES, Shown, frame
from isthmus.lab.node.logs import LogStore
from isthmus.lab.pod_logs import LogRequest

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
REQUEST = LogRequest(namespace="shop", pod="web", uid="uid", container="c")
STAMP = "2026-01-01T12:00:00.123456000Z"


async def read(
    store: LogStore,
    *,
    tail: int | None = None,
    since: datetime | None = None,
    stamps: bool = False,
    previous: bool = False,
) -> str:
    wanted = replace(REQUEST, tail_lines=tail, since=since, timestamps=stamps, previous=previous)
    pieces = await store.open(wanted)
    return b"".join([piece async for piece in pieces]).decode()


async def following(store: LogStore) -> AsyncIterator[bytes]:
    """The log from its last line on."""
    return await store.open(replace(REQUEST, follow=True, tail_lines=1))


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
    assert Shown().of(framed) + rest == b"".join(pieces)


@pytest.mark.parametrize("text", [b"50 %\r100 %\n", b"\r\x00\n"])
def test_a_carriage_return_is_text(text: bytes) -> None:
    """A progress bar is one line."""
    framed, _ = frame(text, stream="stdout", now=NOW)
    assert Shown().of(framed) == text


def test_a_long_line_is_written_in_parts() -> None:
    """A line longer than 16 KiB takes several entries, and is one line with one time again when read."""
    line = b"x" * (LONGEST_LINE_BYTES * 2 + 5) + b"\n"
    framed, _ = frame(line, stream="stdout", now=NOW)
    assert [entry.split(b" ", 3)[2] for entry in framed.splitlines()] == [b"P", b"P", b"F"]
    assert Shown().of(framed) == line
    assert Shown(timestamps=True).of(framed + framed) == (STAMP.encode() + b" " + line) * 2


def test_a_line_is_shown_as_a_whole_or_not_at_all() -> None:
    """Whether a long line is recent enough its first part says, and another stream's lines do not disturb it."""
    begun, _ = frame(b"x" * (LONGEST_LINE_BYTES + 1), stream="stdout", now=NOW)
    other, _ = frame(b"other\n", stream="stderr", now=NOW + timedelta(seconds=9))
    rest, _ = frame(b"x\n", stream="stdout", now=NOW + timedelta(seconds=9))
    assert Shown(since=NOW + timedelta(seconds=5)).of(begun + other + rest) == b"other\n"


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
    pieces = await following(store)
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
    assert len(list(log.files.directory.iterdir())) == 2
    store.set_aside("uid", "c")
    assert await read(store, previous=True) == "run 3\n", "the container waits for its next run"


async def test_rotation(store: LogStore, log: ContainerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log does not grow for ever, what is kept is read as one, and a follower goes on."""
    monkeypatch.setattr(log_files, "FILE_BYTES", 500)
    pieces = await following(store)
    assert await anext(pieces) == b"line 4\n"
    for number in range(100):
        log.write("stdout", f"new {number}\n".encode(), now=NOW)
        assert await anext(pieces) == f"new {number}\n".encode()
    log.close(now=NOW)
    assert [piece async for piece in pieces] == []
    sizes = [path.stat().st_size for path in log.files.directory.iterdir()]
    assert (len(sizes), max(sizes) <= 500) == (5, True)
    kept = (await read(store)).splitlines()
    assert kept == [f"new {number}" for number in range(100 - len(kept), 100)]
    assert len(kept) > 4 * 10
    for tail in range(len(kept) + 1):
        assert (await read(store, tail=tail)).splitlines() == kept[len(kept) - tail :]


@given(writes=st.lists(st.tuples(st.integers(1, 90), st.booleans()), max_size=60), tail=st.integers(0, 12))
def test_no_line_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bool]], tail: int
) -> None:
    """Whenever a reader looks, and wherever a file ends, it gets every line once."""
    files = RunFiles(tmp_path_factory.mktemp("log"), 1)
    before: list[bytes] = []
    after: list[bytes] = []
    reader, got, shown = None, b"", Shown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "FILE_BYTES", 200)
        patch.setattr(log_files, "CHUNK_BYTES", 128)
        patch.setattr(log_files, "KEPT_FILES", 1000)
        log = ContainerLog(files)
        for number, (size, reads) in enumerate(writes):
            line = f"{number}{'x' * size}\n".encode()
            log.write("stdout", line, now=NOW)
            (before if reader is None else after).append(line)
            if reads:
                reader = reader or LogReader(files, place_of_last(files, tail))
                got += shown.of(reader.read())
        log.close(now=NOW)
        reader = reader or LogReader(files, place_of_last(files, tail))
        while data := reader.read():
            got += shown.of(data)
        reader.close()
    assert got == b"".join([*before[max(0, len(before) - tail) :], *after])


def test_a_slow_reader_goes_on_with_what_is_left(log: ContainerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose next file was deleted misses its lines, and none of those after it."""
    monkeypatch.setattr(log_files, "FILE_BYTES", 100)
    reader, shown = LogReader(log.files, first_place(log.files)), Shown()
    for number in range(20):
        log.write("stdout", f"new {number}\n".encode(), now=NOW)
    got = b""
    while data := reader.read():
        got += shown.of(data)
    reader.close()
    assert got.decode().split("\n")[:5] == [f"line {number}" for number in range(5)]
    assert got.endswith(b"".join(f"new {number}\n".encode() for number in range(15, 20)))


async def test_a_pod_that_is_gone(store: LogStore, log: ContainerLog) -> None:
    """Nothing of a pod is remembered when it is gone."""
    log.close(now=NOW)
    store.set_aside("uid", "c")
    store.forget("uid")
    assert (store._open, store._previous) == ({}, set())
