"""The agent's server: takes orders over mutual TLS from the control plane of its own mesh, and from nobody else.

Small on purpose: one order a connection, everything bounded, and as many under way as are useful to one control plane.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, Protocol

import h11
import msgspec
import structlog

from isthmus.federation.findings import ProbeReport, RequestReport
from isthmus.identity import InvalidCertificateError, SpiffeId
from isthmus.mutual_tls import peer_identity
from isthmus.news import News
from isthmus.probe.errors import BadOrderError
from isthmus.probe.orders import (
    MAX_ORDER_BYTES,
    PROBE_PATH,
    REQUEST_PATH,
    ProbeOrder,
    RequestOrder,
    parse_order,
)

log = structlog.get_logger(__name__)

AGENT_PORT: Final = 15020
"""Where the agent of an Istio proxy listens too."""
MAX_CONNECTIONS: Final = 16
MAX_UNDER_WAY: Final = 4
ORDER_TIMEOUT_S: Final = 5.0
"""For the handshake, and for an order to arrive."""
MAX_HEAD_BYTES: Final = 16 * 1024

Carried = Callable[[bytes], Awaitable[msgspec.Struct]]


class Orders(Protocol):
    """Who carries orders out (``Prober``)."""

    async def probe(self, order: ProbeOrder) -> ProbeReport: ...

    async def request(self, order: RequestOrder) -> RequestReport: ...


@asynccontextmanager
async def serve_agent(
    orders: Orders,
    context: ssl.SSLContext,
    *,
    host: str,
    port: int,
    admitted: Collection[SpiffeId],
    order_timeout_s: float = ORDER_TIMEOUT_S,
) -> AsyncIterator[int]:
    """Serve within the block, to ``admitted`` only; gives the port. ``order_timeout_s`` is for an order to arrive.

    Raises OSError: the address is not ours, or the port is taken.
    """
    agent = _Agent(orders, admitted, order_timeout_s)
    server = await asyncio.start_server(
        agent.connected, host, port, ssl=context, ssl_handshake_timeout=ORDER_TIMEOUT_S, limit=64 * 1024
    )
    async with server:
        log.info("agent listens", host=host, port=port)
        yield server.sockets[0].getsockname()[1]


class _Agent:
    def __init__(self, orders: Orders, admitted: Collection[SpiffeId], order_timeout_s: float) -> None:
        async def probe(body: bytes) -> msgspec.Struct:
            return await orders.probe(parse_order(body, ProbeOrder))

        async def request(body: bytes) -> msgspec.Struct:
            return await orders.request(parse_order(body, RequestOrder))

        self._by_path: Mapping[bytes, Carried] = {PROBE_PATH.encode(): probe, REQUEST_PATH.encode(): request}
        self._admitted = admitted
        self._order_timeout_s = order_timeout_s
        self._open = 0
        self._under_way = 0
        self._news: News[str] = News()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; whoever is not admitted is cut off before anything of it is read."""
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS and self._is_admitted(writer):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # whoever asked has gone, or does not speak HTTP: there is nobody to tell
        finally:
            self._open -= 1
            writer.close()

    def _is_admitted(self, writer: asyncio.StreamWriter) -> bool:
        try:
            identity = peer_identity(writer.get_extra_info("ssl_object"))
        except InvalidCertificateError as error:
            if self._news.is_new("no identity", str(error)):
                log.warning("caller of the agent refused", reason=str(error))
            return False
        is_admitted = identity in self._admitted
        if not is_admitted and self._news.is_new(str(identity), "refused"):
            log.warning("caller of the agent refused", caller=str(identity), expected=list(map(str, self._admitted)))
        return is_admitted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        async with asyncio.timeout(self._order_timeout_s):
            request, body = await _read(http, reader)
        status, answer = await self._answer(request, body)
        headers = [
            ("content-type", "application/json" if status is HTTPStatus.OK else "text/plain; charset=utf-8"),
            ("content-length", str(len(answer))),
            ("connection", "close"),
        ]
        head = http.send(h11.Response(status_code=status, headers=headers, reason=status.phrase)) or b""
        writer.write(head + (http.send(h11.Data(data=answer)) or b"") + (http.send(h11.EndOfMessage()) or b""))
        async with asyncio.timeout(self._order_timeout_s):
            await writer.drain()

    async def _answer(self, request: h11.Request, body: bytes) -> tuple[HTTPStatus, bytes]:
        carry_out = self._by_path.get(request.target)
        if carry_out is None:
            return HTTPStatus.NOT_FOUND, f"only {PROBE_PATH} and {REQUEST_PATH} are here\n".encode()
        if request.method != b"POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, b"only POST is allowed\n"
        if len(body) > MAX_ORDER_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an order has at most {MAX_ORDER_BYTES} bytes\n".encode()
        if self._under_way >= MAX_UNDER_WAY:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_UNDER_WAY} orders are under way: try again\n".encode()
        self._under_way += 1
        try:
            return HTTPStatus.OK, msgspec.json.encode(await carry_out(body))
        except BadOrderError as error:
            return HTTPStatus.BAD_REQUEST, f"{error}\n".encode()
        finally:
            self._under_way -= 1


async def _read(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    """The request with its body, or with as much of it as shows that it is too long.

    Raises h11.RemoteProtocolError: not HTTP, or it breaks off.
    """
    request, body = None, bytearray()
    while len(body) <= MAX_ORDER_BYTES:
        event = http.next_event()
        match event:
            case h11.Request():
                request = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                break
            case h11.ConnectionClosed():
                raise h11.RemoteProtocolError("closed before a request")
            case _:
                http.receive_data(await reader.read(64 * 1024))
    if request is None:
        raise h11.RemoteProtocolError("no request")
    return request, bytes(body)
