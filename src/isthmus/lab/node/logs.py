"""The output of containers: files with a timestamp on each line, rotated, and read for ``pods/log``.

A line in a file is ``<RFC 3339 time> <stdout|stderr> <F|P> <text>``, the format of the Container Runtime Interface:
``P`` marks a part of a line that is longer than :data:`LONGEST_LINE_BYTES`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROTATE_BYTES = 10 * 1024 * 1024
LONGEST_LINE_BYTES = 16 * 1024
CHUNK_BYTES = 64 * 1024
KEPT_RUNS = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a log is wanted and how (core/v1 PodLogOptions)."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False


def frame(data: bytes, *, stream: str, now: datetime) -> tuple[bytes, bytes]:
    """The complete lines of ``data`` as they are written to the file, and the rest that has no end of line yet."""
    head = f"{now.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z {stream} ".encode()
    *lines, rest = data.split(b"\n")
    framed = b"".join(piece for line in lines for piece in _pieces(line, head))
    while len(rest) > LONGEST_LINE_BYTES:
        framed += head + b"P " + rest[:LONGEST_LINE_BYTES] + b"\n"
        rest = rest[LONGEST_LINE_BYTES:]
    return framed, rest


def _pieces(line: bytes, head: bytes) -> Iterator[bytes]:
    while len(line) > LONGEST_LINE_BYTES:
        yield head + b"P " + line[:LONGEST_LINE_BYTES] + b"\n"
        line = line[LONGEST_LINE_BYTES:]
    yield head + b"F " + line + b"\n"


def unframe(line: bytes, *, timestamps: bool, since: datetime | None) -> bytes | None:
    """What the reader is shown of one line of the file; None if it is older than ``since``."""
    moment, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if since is not None and _time(moment) < since:
        return None
    end = b"\n" if tag == b"F" else b""
    return (moment + b" " if timestamps else b"") + text.removesuffix(b"\n") + end


def _time(text: bytes) -> datetime:
    try:
        return datetime.strptime(text[:26].decode(), "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


class ContainerLog:
    """The log of one run of one container, open for writing."""

    def __init__(self, path: Path) -> None:
        """Open it; an existing file is continued. The caller closes it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._bytes = os.fstat(self._file).st_size
        self._rest = {"stdout": b"", "stderr": b""}
        self._grown = asyncio.Event()
        self.closed = False

    def write(self, stream: str, data: bytes, *, now: datetime) -> None:
        """Append output of ``stdout`` or ``stderr``; a line is written when its end has come."""
        framed, self._rest[stream] = frame(self._rest[stream] + data, stream=stream, now=now)
        if framed:
            self._append(framed)

    def close(self, *, now: datetime) -> None:
        """Write what has no end of line, and close."""
        for stream, rest in self._rest.items():
            if rest and not self.closed:
                self._append(frame(rest + b"\n", stream=stream, now=now)[0])
        if not self.closed:
            self.closed = True
            os.close(self._file)
            self._wake()

    async def wait_grown(self) -> None:
        """Wait until something was written, or the log was closed."""
        if not self.closed:
            await self._grown.wait()

    def _append(self, framed: bytes) -> None:
        if self._bytes and self._bytes + len(framed) > ROTATE_BYTES:
            self._rotate()
        with suppress(OSError):  # a full disk must not stop a container
            os.write(self._file, framed)
        self._bytes += len(framed)
        self._wake()

    def _rotate(self) -> None:
        os.close(self._file)
        self.path.rename(rotated(self.path))
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._bytes = 0

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def rotated(path: Path) -> Path:
    """Where the older half of a log is after it was rotated."""
    return path.with_name(path.name + ".1")


class LogStore:
    """The logs of all containers of a node, by pod uid and container; what the API server reads logs through."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[tuple[str, str], ContainerLog] = {}

    def begin(self, uid: str, container: str, run: int) -> ContainerLog:
        """The log of a new run; runs older than the previous one are deleted. The caller closes it."""
        for number, path in self._runs(uid, container):
            if number <= run - KEPT_RUNS:
                path.unlink(missing_ok=True)
                rotated(path).unlink(missing_ok=True)
        log = self._open[(uid, container)] = ContainerLog(self._directory(uid, container) / f"{run}.log")
        return log

    def _directory(self, uid: str, container: str) -> Path:
        return self._root / uid / "logs" / container

    def _runs(self, uid: str, container: str) -> list[tuple[int, Path]]:
        found = self._directory(uid, container).glob("*.log")
        return sorted((int(path.stem), path) for path in found if path.stem.isdecimal())

    async def open(  # noqa: PLR0913 - the options of PodLogOptions, one by one
        self,
        *,
        namespace: str,
        pod: str,
        uid: str,
        container: str,
        follow: bool,
        tail_lines: int | None,
        since: datetime | None,
        timestamps: bool,
        previous: bool,
    ) -> AsyncIterator[bytes]:
        """The lines of the last run of a container, or of the one before it.

        Raises LookupError before the first item if there is no such run.
        """
        runs = self._runs(uid, container)
        if len(runs) < (2 if previous else 1):
            which = "previous terminated container" if previous else "container"
            raise LookupError(f'{which} "{container}" in pod "{namespace}/{pod}" not found')
        path = runs[-2 if previous else -1][1]
        wanted = Wanted(follow=follow and not previous, tail_lines=tail_lines, since=since, timestamps=timestamps)
        log = self._open.get((uid, container))
        writer = log if log is not None and log.path == path else None
        async for piece in read_log(path, wanted, writer=writer):
            yield piece


async def read_log(path: Path, wanted: Wanted, *, writer: ContainerLog | None) -> AsyncIterator[bytes]:
    """A log from its beginning (or its last ``tail_lines``), and then as it grows as long as its writer is open."""
    start, older = await asyncio.to_thread(_beginning, path, wanted.tail_lines)
    if older:
        yield _show(older, wanted)
    reader = _Tail(path, start)
    while True:
        finished = writer is None or writer.closed
        while data := reader.read():
            if shown := _show(data, wanted):
                yield shown
            await asyncio.sleep(0)
        if finished or not wanted.follow or writer is None:
            break
        await writer.wait_grown()
    reader.close()


def _show(data: bytes, wanted: Wanted) -> bytes:
    lines = (unframe(line, timestamps=wanted.timestamps, since=wanted.since) for line in data.splitlines(keepends=True))
    return b"".join(line for line in lines if line)


def _beginning(path: Path, tail_lines: int | None) -> tuple[int, bytes]:
    """Where to begin in the file, and what of the rotated file comes before it."""
    older = rotated(path).read_bytes() if rotated(path).exists() else b""
    if tail_lines is None:
        return 0, older
    present = path.read_bytes() if path.exists() else b""
    lines = (older + present).splitlines(keepends=True)
    return len(present), b"".join(lines[max(0, len(lines) - tail_lines) :])


class _Tail:
    """Complete lines of a file that grows; goes on in the new file after a rotation."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._file = path.open("rb")
        self._file.seek(start)
        self._rest = b""

    def read(self) -> bytes:
        data = self._file.read(CHUNK_BYTES)
        if not data and self._path.exists() and self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
            self._file.close()
            self._file = self._path.open("rb")
            data = self._file.read(CHUNK_BYTES)
        whole, end, self._rest = (self._rest + data).rpartition(b"\n")
        return whole + end

    def close(self) -> None:
        self._file.close()
