"""The port between who is asked for the log of a container and who has it: an API server, and nodes."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """Whose log is wanted, which part of it and how (core/v1 PodLogOptions); ``uid`` is the pod's."""

    namespace: str
    pod: str
    uid: str
    container: str
    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    previous: bool = False


class PodLogs(Protocol):
    """Where the output of pods is to be had.

    The iterator is closed (``aclose``, if it has one) when the client goes away or the server stops. ``open`` itself,
    awaited, raises LookupError, with the reason, when there is no such log.
    """

    async def open(self, wanted: LogRequest) -> AsyncIterator[bytes]:
        """The text of the log, in pieces."""


async def limited(lines: AsyncIterator[bytes], limit: int | None) -> AsyncGenerator[bytes]:
    """The log, cut after ``limit`` bytes; its source is closed in every case."""
    left = limit
    try:
        async for chunk in lines:
            part = chunk if left is None else chunk[:left]
            if part:
                yield part
            if left is not None:
                left -= len(part)
                if left <= 0:
                    return
    finally:
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()
