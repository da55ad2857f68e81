"""The files of a container's log: ``<run>.<number>.log``, written one after the other, and the oldest deleted.

A file is never renamed and its number never used again: a reader that has come to the end of one goes on in the next
and can neither lose a line nor see one twice, unless it is so slow that the next was deleted meanwhile.
"""

import asyncio
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from isthmus.lab.node.log_lines import frame

FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5
"""Of one run. Both are the kubelet's defaults (``containerLogMaxSize``, ``containerLogMaxFiles``)."""
CHUNK_BYTES = 64 * 1024


class Place(NamedTuple):
    """Where in the files of a run something begins."""

    number: int
    offset: int


class RunFiles(NamedTuple):
    """The files of one run of a container."""

    directory: Path
    run: int

    def path(self, number: int) -> Path:
        """One of them; they count from 1."""
        return self.directory / f"{self.run}.{number}.log"

    def numbers(self) -> list[int]:
        """Those that are there, the oldest first."""
        middles = (path.name.split(".")[1] for path in self.directory.glob(f"{self.run}.*.log"))
        return sorted(int(middle) for middle in middles if middle.isdecimal())

    def delete(self) -> None:
        """Delete all of them."""
        for number in self.numbers():
            self.path(number).unlink(missing_ok=True)


def runs(directory: Path) -> list[RunFiles]:
    """The runs that have files, the oldest first."""
    firsts = {path.name.split(".")[0] for path in directory.glob("*.*.log")}
    return [RunFiles(directory, run) for run in sorted(int(first) for first in firsts if first.isdecimal())]


class ContainerLog:
    """The log of one run of one container, open for writing."""

    def __init__(self, files: RunFiles) -> None:
        """Open it; what is there is continued. The caller closes it."""
        files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.files = files
        self._number = max(files.numbers(), default=1)
        self._file = _open(files.path(self._number))
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
        with suppress(OSError):  # a full disk must not stop a container
            if self._bytes and self._bytes + len(framed) > FILE_BYTES:
                self._rotate()
            os.write(self._file, framed)
        self._bytes += len(framed)
        self._wake()

    def _rotate(self) -> None:
        fresh = _open(self.files.path(self._number + 1))
        os.close(self._file)
        self._file, self._number, self._bytes = fresh, self._number + 1, 0
        self.files.path(self._number - KEPT_FILES).unlink(missing_ok=True)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def first_place(files: RunFiles) -> Place:
    """Where the log begins. Raises FileNotFoundError if there is none."""
    numbers = files.numbers()
    if not numbers:
        raise FileNotFoundError(f"Reading the log {files.path(1)}: there is none")
    return Place(numbers[0], 0)


def place_of_last(files: RunFiles, lines: int) -> Place:
    """Where the last ``lines`` stored lines begin. Raises FileNotFoundError if there is no log."""
    for number in reversed(files.numbers()):
        with suppress(FileNotFoundError), files.path(number).open("rb") as file:
            offset, lines = _search(file, lines)
            if lines < 0:
                return Place(number, offset)
    return first_place(files)


def _search(file: BinaryIO, lines: int) -> tuple[int, int]:
    """Look for the end of the line before the last ``lines``: after it, and -1; else 0 and how many are missing."""
    offset = file.seek(0, os.SEEK_END)
    while offset > 0:
        size = min(CHUNK_BYTES, offset)
        offset -= size
        file.seek(offset)
        block = file.read(size)
        if (found := block.count(b"\n")) > lines:
            end = size
            for _ in range(lines + 1):
                end = block.rindex(b"\n", 0, end)
            return offset + end + 1, -1
        lines -= found
    return 0, lines


class LogReader:
    """Complete stored lines of one run from a place on, also while it is written. The caller closes it."""

    def __init__(self, files: RunFiles, place: Place) -> None:
        """Raises FileNotFoundError if that file is gone."""
        self._files = files
        self._number = place.number
        self._file = files.path(place.number).open("rb")
        self._file.seek(place.offset)
        self._rest = b""

    def read(self) -> bytes:
        """Some more lines; nothing if there are none now."""
        while data := self._more():
            whole, end, self._rest = (self._rest + data).rpartition(b"\n")
            if end:
                return whole + end
        return b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _more(self) -> bytes:
        data = self._file.read(CHUNK_BYTES)
        while not data and (following := self._following()) is not None:
            # Looked at once more: the writer may have come back to this file before it began the next one.
            data = self._file.read(CHUNK_BYTES) or self._turn_to(following)
        return data

    def _following(self) -> int | None:
        return next((number for number in self._files.numbers() if number > self._number), None)

    def _turn_to(self, number: int) -> bytes:
        self._number, self._rest = number, b""
        with suppress(FileNotFoundError):  # deleted since it was listed: the one after it is next
            fresh = self._files.path(number).open("rb")
            self._file.close()
            self._file = fresh
        return self._file.read(CHUNK_BYTES)
