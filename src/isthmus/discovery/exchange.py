"""One HTTP call to a peer through our own egress gateway, on a connection of its own.

Why not the HTTP client that the rest of the project uses: this server is known by its SPIFFE id, which has to be
checked after the handshake and before the request is sent, and a client with a pool has no place for that. h11 does
the protocol; here is only what moves its bytes. Source: docs/protocol.md §1 (path of a discovery request).
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from isthmus.discovery.errors import LinkError, OwnGatewayError, UnsentError
from isthmus.federation.messages import MAX_LIST_BYTES
from isthmus.federation.names import VERSION_HEADER
from isthmus.federation.plan import Endpoint
from isthmus.identity import InvalidCertificateError, SpiffeId
from isthmus.mutual_tls import peer_identity

CONNECT_TIMEOUT_S: Final = 5.0
HEADERS_TIMEOUT_S: Final = 15.0
"""Longer than the gateways take to find out that the peer does not answer: their 503 says more than our time-out."""
MAX_HEADERS_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 64 * 1024
_READ_AHEAD_BYTES: Final = MAX_LIST_BYTES // 2
"""A reader is paused when it is behind by twice as much. uvloop 0.22 drops what TLS has not given out yet when a
connection is closed while its reader is paused, and gateways close each connection after its answer: the end of every
list of some megabytes was lost. So there is room for the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How calls for one peer travel: to which gateway, and with which headers it tells that peer from others."""

    peer: str
    authority: str
    """``<egress>.<namespace>.svc.<cluster domain>:8188``, what the call's URL would name."""
    discovery_name: str
    """``discovery.<namespace>.svc.<peer>.local``."""
    remote_checksum: int
    version: str
    """Which description of the peer the gateway must have (``federation.plan.RemotePeer.version``)."""
    gateways: Collection[SpiffeId]
    """Who must answer: the egress gateway's service account, in any trust domain of the mesh."""
    endpoints: Callable[[], Sequence[Endpoint]]
    """Where the gateway's pods are now; asked at each call."""
    context: Callable[[], ssl.SSLContext]
    """Our certificate and roots (``mutual_tls.client_context``); asked at each call, so that a renewed one is used."""

    local_address: str | None = None
    """The address to call from, so that the peer can tell our pods apart; None leaves it to the system."""

    def request(self, path: str) -> h11.Request:
        headers = [
            ("host", self.authority),
            ("discovery-service", self.discovery_name),
            ("remote", str(self.remote_checksum)),
            (VERSION_HEADER, self.version),
            ("accept", "application/json"),
            ("user-agent", "isthmus"),
            ("connection", "close"),
        ]
        return h11.Request(method="GET", target=path, headers=headers)


class Answer:
    """The answer to a call whose headers have come; the body is read by one reader."""

    def __init__(self, head: h11.Response, stream: "Stream") -> None:
        self._head = head
        self._stream = stream

    @property
    def status(self) -> int:
        return self._head.status_code

    @property
    def status_line(self) -> str:
        """``503 Service Unavailable``."""
        phrase = self._head.reason.decode("ascii", "replace").strip() or _phrase(self.status)
        return f"{self.status} {phrase}".strip()

    def header(self, name: str) -> str | None:
        """The value of a header (``name`` in lower case), if it is there."""
        values = (value for key, value in self._head.headers if key == name.encode())
        value = next(values, None)
        return None if value is None else value.decode("ascii", "replace")

    async def read_some(self) -> bytes:
        """Some more of the body, at most 64 KiB at once; empty at its end.

        Raises LinkError: the connection broke before the end of the body.
        """
        event = await self._stream.next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def read_all(self, *, limit: int, timeout_s: float) -> bytes:
        """The whole body; raises LinkError: it is longer than ``limit`` bytes, takes too long, or breaks off."""
        body = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                while some := await self.read_some():
                    body += some
                    if len(body) > limit:
                        raise LinkError(f"the peer's answer is longer than {limit} bytes")
        except TimeoutError as error:
            raise LinkError(f"the peer's answer took more than {timeout_s:g} s") from error
        return bytes(body)


@asynccontextmanager
async def call(route: Route, path: str, *, attempt: int = 0) -> AsyncIterator[Answer]:
    """Send ``GET path`` and wait for the headers of the answer, whatever its status.

    ``attempt`` chooses among the gateway's pods. The connection is closed at the end of the block, at once.
    Raises LinkError: no answer, for a reason that its text tells.
    """
    stream = await _to_gateway(route, _choose(route, attempt))
    try:
        yield await stream.ask(route.request(path))
    finally:
        stream.abort()


async def _to_gateway(route: Route, endpoint: Endpoint) -> "Stream":
    try:
        return await open_stream(
            endpoint,
            where=f"the egress gateway at {endpoint.host}:{endpoint.port}",
            context=route.context(),
            expected=route.gateways,
            local_address=route.local_address,
        )
    except LinkError as error:
        raise OwnGatewayError(str(error)) from error


def _choose(route: Route, attempt: int) -> Endpoint:
    endpoints = sorted(route.endpoints())
    if not endpoints:
        raise OwnGatewayError(f"the egress gateway {route.authority} has no address: is its pod running?")
    return endpoints[attempt % len(endpoints)]


async def open_stream(
    endpoint: Endpoint,
    *,
    where: str,
    context: ssl.SSLContext,
    expected: Collection[SpiffeId],
    local_address: str | None = None,
    server_name: str | None = None,
) -> "Stream":
    """Connect, and check who answers before a byte is sent.

    ``where`` names the other end in messages, ``expected`` are the identities of which one must answer, ``server_name``
    is the SNI to ask for.
    Raises UnsentError.
    """
    local = None if local_address is None else (local_address, 0)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                limit=_READ_AHEAD_BYTES,
                ssl=context,
                local_addr=local,
                server_hostname=server_name,
            )
    except TimeoutError as error:
        raise UnsentError(f"no connection to {where} within {CONNECT_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise UnsentError(f"no connection to {where}: {_cause(error)}") from error
    stream = Stream(reader, writer, where)
    try:
        identity = peer_identity(writer.get_extra_info("ssl_object"))
    except InvalidCertificateError as error:
        stream.abort()
        raise UnsentError(f"{where} cannot prove who it is: {error}") from error
    if identity not in expected:
        stream.abort()
        raise UnsentError(f"{where} is {identity}, expected {' or '.join(map(str, expected))}")
    return stream


class Stream:
    """h11 on an asyncio connection; every failure is a LinkError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        self._reader = reader
        self._writer = writer
        self.where: Final = where
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS_BYTES)

    async def ask(self, request: h11.Request, body: bytes = b"") -> Answer:
        """Send a request and wait for the headers of the answer, whatever its status. Raises LinkError."""
        try:
            async with asyncio.timeout(HEADERS_TIMEOUT_S):
                await self._send(request, body)
                event = await self.next_event()
                while isinstance(event, h11.InformationalResponse):
                    event = await self.next_event()
        except TimeoutError as error:
            raise LinkError(f"no answer through {self.where} within {HEADERS_TIMEOUT_S:g} s") from error
        if not isinstance(event, h11.Response):
            raise LinkError(f"{self.where} did not answer: {type(event).__name__}")
        return Answer(event, self)

    async def _send(self, request: h11.Request, body: bytes) -> None:
        self._writer.write(self._http.send(request) or b"")
        if body:
            self._writer.write(self._http.send(h11.Data(body)) or b"")
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        try:
            await self._writer.drain()
        except OSError as error:
            raise LinkError(f"the connection to {self.where} broke: {_cause(error)}") from error

    async def next_event(self) -> h11.Event:
        """The next event of the answer. Raises LinkError."""
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Event):
                    return event
                self._http.receive_data(await self._read())
        except h11.RemoteProtocolError as error:
            raise LinkError(f"the connection through {self.where} broke off: {error}") from error
        except OSError as error:
            raise LinkError(f"the connection to {self.where} broke: {_cause(error)}") from error

    async def _read(self) -> bytes:
        data = await self._reader.read(_READ_BYTES)
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            raise LinkError(f"{self.where} closed the connection instead of answering")
        return data

    def abort(self) -> None:
        """Close without a word: nothing of ours is under way, and a peer that is stuck must not hold us."""
        self._writer.transport.abort()


def _cause(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
        case socket.gaierror():
            return f"its name cannot be resolved: {error.strerror}".lower()
        case _ if error.errno:
            return os.strerror(error.errno).lower()  # asyncio's own text names the address once more instead
        case _:
            return (str(error) or type(error).__name__).lower()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
