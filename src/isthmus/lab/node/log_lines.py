"""The lines of a container's log, as they are stored and as they are shown.

A stored line is ``<RFC 3339 time> <stdout|stderr> <F|P> <text>``, the format of the Container Runtime Interface: ``P``
marks a part of a line that is longer than :data:`LONGEST_LINE_BYTES`. All times are UTC and equally long, so that they
compare as bytes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

LONGEST_LINE_BYTES = 16 * 1024


def stamp(moment: datetime) -> bytes:
    """A moment as it stands before a line."""
    return f"{moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z".encode()


def frame(data: bytes, *, stream: str, now: datetime) -> tuple[bytes, bytes]:
    """The complete lines of ``data`` as they are written to the file, and the rest that has no end of line yet."""
    head = stamp(now) + f" {stream} ".encode()
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


class Shown:
    """What a reader is shown of stored lines: those since a moment, parts put together, with their times or without."""

    def __init__(self, *, timestamps: bool = False, since: datetime | None = None) -> None:
        self._timestamps = timestamps
        self._since = b"" if since is None else stamp(since)
        self._inside: dict[bytes, bool] = {}
        """For each stream within a line: whether that line is shown."""

    def of(self, data: bytes) -> bytes:
        """The text of complete stored lines; a carriage return ends none."""
        return b"".join(self._line(line) for line in BytesIO(data))

    def _line(self, line: bytes) -> bytes:
        moment, _, rest = line.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        begun = stream in self._inside
        shown = self._inside.pop(stream) if begun else moment >= self._since
        if tag == b"P":
            self._inside[stream] = shown
            text = text.removesuffix(b"\n")
        head = moment + b" " if self._timestamps and not begun else b""
        return head + text if shown else b""
