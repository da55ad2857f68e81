"""Requests of httpx2, and so of lightkube, sent by aiohttp.

The parser and the connections of aiohttp are compiled: a request of a kilobyte over TLS costs 0.1 ms, with those of
httpx2 0.45 ms, which a control plane that writes thousands of objects spends on little else.
"""

import io
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import httpx2
from yarl import URL

_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A dead connection is noticed within half a minute, also while it is silent, which a watch may be for long."""

IDLE_S = 60.0
"""How long a connection is kept for the next request."""

LARGE = 64 * 1024
"""Bytes that are sent at once."""


def session(
    verify: ssl.SSLContext,
    *,
    connector: aiohttp.BaseConnector | None = None,
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    timeout: aiohttp.ClientTimeout = aiohttp.ClientTimeout(),  # noqa: B008  (it is immutable)
    auto_decompress: bool = True,
) -> aiohttp.ClientSession:
    """A session without cookies, and without a bound on connections; call it in the event loop.

    connector: of another session, whose connections are used, and which closes them.
    """
    return aiohttp.ClientSession(
        connector=connector if connector is not None else connector_of(verify),
        connector_owner=connector is None,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=middlewares,
        timeout=timeout,
        auto_decompress=auto_decompress,
    )


def connector_of(verify: ssl.SSLContext) -> aiohttp.BaseConnector:
    """Connections that are kept, and whose end is noticed."""
    return aiohttp.TCPConnector(ssl=verify, limit=0, keepalive_timeout=IDLE_S, socket_factory=_socket)


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    for option in _ALIVE:
        made.setsockopt(*option)
    return made


def body(content: bytes) -> bytes | io.BytesIO | None:
    """The body of a request; a large one in a form in which aiohttp gives other tasks their turn between its parts."""
    return io.BytesIO(content) if len(content) > LARGE else content or None


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """A transport of httpx2 that sends by a session of aiohttp, which it closes."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        """The session must not decompress: httpx2 does."""
        self._http = http

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; errors are those of httpx2."""
        timeout = request.extensions.get("timeout", {})
        try:
            answer = await self._http.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers,
                data=body(await request.aread()),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=timeout.get("connect"), sock_read=timeout.get("read")),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _error(error) from error
        # lightkube takes for granted that an error has a Content-Type; what stands before a server may forget it.
        headers = httpx2.Headers(list(answer.raw_headers))
        headers.setdefault("Content-Type", "")
        return httpx2.Response(answer.status, headers=headers, stream=_Body(answer))

    async def aclose(self) -> None:
        """Close the session."""
        await self._http.close()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _error(error) from error

    async def aclose(self) -> None:
        """Let go of the connection: whoever has not read to the end does not want the rest, which may have no end."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def _error(error: Exception) -> httpx2.TransportError:
    said = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return httpx2.ReadTimeout(said)
    return httpx2.NetworkError(said)
