"""What a process tells over HTTP/1.1: ``GET /ready``, 200 or 503 with the reason in one line, and pages beside it.

Small on purpose: one request for a connection, nothing of it believed but its first line. Shared by all processes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

MAX_REQUEST_BYTES = 8 * 1024
REQUEST_TIMEOUT_S = 5.0
TEXT: Final = "text/plain; charset=utf-8"

Problem = Callable[[], Awaitable[str | None]]
"""Why the process is not ready, in one line; None if it is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is told: a status line without the version, a body, and what kind of body it is."""

    status: str
    body: bytes
    media_type: str = TEXT

    @classmethod
    def line(cls, status: str, text: str) -> "Answer":
        """One line of text."""
        return cls(status, f"{text}\n".encode())

    def response(self, *, is_head: bool) -> bytes:
        """The bytes to send; HEAD is told of the body only (RFC 9110 §9.3.2)."""
        head = (
            f"HTTP/1.1 {self.status}\r\nContent-Type: {self.media_type}\r\nContent-Length: {len(self.body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + (b"" if is_head else self.body)


Page = Callable[[], Awaitable[Answer]]
"""Makes the answer to one request."""


@asynccontextmanager
async def serve_readiness(
    address: str, port: int, problem: Problem, *, path: str = "/ready", pages: Mapping[str, Page] | None = None
) -> AsyncIterator[int]:
    """Answer probes for ``path``, and requests for ``pages`` by path, on ``address`` within the block; gives the port.

    Raises OSError: the address is not ours, or the port is taken.
    """

    async def readiness() -> Answer:
        reason = await problem()
        return Answer.line("200 OK", "ready") if reason is None else Answer.line("503 Service Unavailable", reason)

    served = {path: readiness, **(pages or {})}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                writer.write(await _answer(await reader.readuntil(b"\r\n\r\n"), served))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asked has gone or sends no request: there is nobody to tell.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, address, port, limit=MAX_REQUEST_BYTES)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(request: bytes, served: Mapping[str, Page]) -> bytes:
    method, _, rest = request.partition(b" ")
    target = rest.partition(b" ")[0].partition(b"?")[0].decode("ascii", "replace")
    is_head = method == b"HEAD"
    if target not in served:
        return Answer.line("404 Not Found", f"only {', '.join(served)} is here").response(is_head=is_head)
    if method not in {b"GET", b"HEAD"}:
        return Answer.line("405 Method Not Allowed", "only GET and HEAD are allowed").response(is_head=False)
    return (await served[target]()).response(is_head=is_head)
