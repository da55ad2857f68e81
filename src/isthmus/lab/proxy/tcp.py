"""TCP from one address to the next ready backend, with both halves of the connection closed as their senders do.

The outgoing socket is bound to the client's address where that is possible: all of 127.0.0.0/8 is local, so the
backend sees who really calls.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress

import structlog

from isthmus.lab.proxy.forwarding import Backend, Frontend

log = structlog.get_logger()

BACKLOG = 512
BUFFER_BYTES = 256 * 1024
CONNECT_S = 5.0
TRIES = 3
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen at connect, so that a client's address is not short of ports


class TcpForward:
    """One listening address."""

    def __init__(self, frontend: Frontend, backends: tuple[Backend, ...]) -> None:
        self.backends = backends
        self._frontend = frontend
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def listen(self) -> None:
        """Bind and listen. Raises OSError if the address is taken, PermissionError for a port that is not allowed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self._frontend.address, self._frontend.port))
        self._socket.listen(BACKLOG)

    def close(self) -> None:
        """Stop listening; after :meth:`run` has ended."""
        self._socket.close()

    async def run(self, connections: asyncio.TaskGroup) -> None:
        """Accept until cancelled. Connections live in ``connections``: they outlive the address."""
        loop = asyncio.get_running_loop()
        while True:
            client, address = await loop.sock_accept(self._socket)
            connections.create_task(self._serve(client, address[0]), name=f"forward {address[0]}")

    async def _serve(self, client: socket.socket, source: str) -> None:
        try:
            backend = await self._connect(source)
        except OSError as error:
            log.debug("no backend answers", error=str(error))
            _reset(client)
            return
        near, far = Half(), Half()
        near.peer, far.peer = far, near
        try:
            await _join(client, near, backend, far)
        except OSError as error:  # one of them has gone while the other was taken in
            log.debug("connection not forwarded", error=str(error))
        finally:
            near.abort()
            far.abort()
            client.close()
            backend.close()

    async def _connect(self, source: str) -> socket.socket:
        """A connection to one of the backends. Raises OSError if none of those tried answers."""
        failure: OSError = ConnectionRefusedError("no ready endpoint")
        for backend in random.sample(self.backends, min(TRIES, len(self.backends))):
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await connect_from(source, backend)
            except OSError as error:  # a time-out is one as well
                failure = error
        raise failure


async def _join(client: socket.socket, near: "Half", backend: socket.socket, far: "Half") -> None:
    """Forward between two sockets until both are closed. Raises OSError if one can't be taken in."""
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: near, client)
    await loop.create_connection(lambda: far, sock=backend)
    for half in (near, far):
        half.start()
    for half in (near, far):
        half.pass_end()
    await near.closed.wait()
    await far.closed.wait()


async def connect_from(source: str, backend: Backend) -> socket.socket:
    """A TCP connection to ``backend`` from the address ``source``, or from any if that is not possible."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, tuple(backend))
    except BaseException:
        sock.close()
        raise
    return sock


def _reset(sock: socket.socket) -> None:
    """Close with RST, so that the client sees a refusal and not an empty answer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Half(asyncio.Protocol):
    """One side of a forwarded connection; what it receives, its peer sends.

    What arrives before both sides are there is kept: a paused transport is no safeguard, uvloop reads once regardless.
    """

    def __init__(self) -> None:
        self.peer: Half | None = None
        self.closed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.ended = False
        self._started = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream transport, by the kind of socket
        self._require().set_write_buffer_limits(high=BUFFER_BYTES)

    def start(self) -> None:
        """Both sides are there: send what has arrived meanwhile, and from now on as it comes."""
        self._started = True
        for data in self._early:
            self.data_received(data)
        if self._early and not self.closed.is_set():
            self._require().resume_reading()
        self._early.clear()

    def pass_end(self) -> None:
        """After both sides have started: pass on an end that had come before."""
        if self.closed.is_set():
            self.connection_lost(None)
        elif self.ended:
            self.eof_received()

    def abort(self) -> None:
        """Close at once, whatever has not been sent."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._started:
            self._early.append(data)
            self._require().pause_reading()
        elif (other := self._other()) is not None:
            other.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self._started and self.peer is not None and (other := self._other()) is not None:
            if self.peer.ended:
                self._require().close()
                other.close()
            else:
                other.write_eof()
        return True

    def pause_writing(self) -> None:
        if (other := self._other()) is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        if (other := self._other()) is not None:
            other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        if self._started and (other := self._other()) is not None:
            other.abort() if error is not None else other.close()

    def _require(self) -> asyncio.Transport:
        if self.transport is None:
            raise RuntimeError("Forwarding a connection: used before it was made")
        return self.transport

    def _other(self) -> asyncio.Transport | None:
        peer = self.peer
        return peer.transport if peer is not None and not peer.closed.is_set() else None
