"""The probe's answer: ``GET /healthz/ready`` over HTTP/1.1, 200 or 503 with the reason in one line.

Small on purpose: one request for a connection, nothing of it believed but its first line.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PATH = "/healthz/ready"
MAX_REQUEST_BYTES = 8 * 1024
REQUEST_TIMEOUT_S = 5.0

Problem = Callable[[], Awaitable[str | None]]
"""Why the pod is not ready, in one line; None if it is."""


@asynccontextmanager
async def serve_readiness(address: str, port: int, problem: Problem) -> AsyncIterator[int]:
    """Answer probes on ``address``; gives the port.

    Raises OSError: the address is not ours, or the port is taken.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                writer.write(await _answer(reader, problem))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asked has gone or sends no request: there is nobody to tell.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, address, port, limit=MAX_REQUEST_BYTES)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(reader: asyncio.StreamReader, problem: Problem) -> bytes:
    request = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = request.partition(b" ")
    target = rest.partition(b" ")[0].partition(b"?")[0]
    if target != PATH.encode():
        return _response("404 Not Found", f"only {PATH} is here")
    if method not in {b"GET", b"HEAD"}:
        return _response("405 Method Not Allowed", "only GET and HEAD are allowed")
    reason = await problem()
    return _response("200 OK", "ready") if reason is None else _response("503 Service Unavailable", reason)


def _response(status: str, text: str) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
