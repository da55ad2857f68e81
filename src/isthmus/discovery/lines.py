"""The lines of a watch out of the pieces in which they arrive; bounded, to be driven by hand."""


class LineSplitter:
    """Cuts a stream of bytes at line ends; CR LF and LF are the same, white space around a line is dropped.

    A line longer than ``limit`` bytes comes out as its first ``limit + 1`` bytes: too long for any message, and no
    longer than that in memory.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in ``data``, in order; an empty one is a heartbeat."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._grow(end)
            lines.append(bytes(self._partial).strip())
            self._partial.clear()
        self._grow(rest)
        return lines

    def _grow(self, piece: bytes) -> None:
        self._partial += piece[: self._limit + 1 - len(self._partial)]
