"""One TCP connection with TLS or without, moved by hand.

asyncio's own streams hide what a probe is to tell apart: which bytes came before TLS gave up, and the alert that still
lies in the socket when a write fails because the other end has closed. Here reading and TLS are separate steps.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

_READ_BYTES: Final = 16 * 1024
_T = TypeVar("_T")


@asynccontextmanager
async def connected(host: str, port: int, *, source: str) -> AsyncIterator[socket.socket]:
    """A socket connected to an IP address, from the address ``source`` if both are of one kind; closed at the end.

    Raises OSError: no connection, or the source is no address of ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        if (":" in source) == (":" in host):
            made.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(made, (host, port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield made


class Plain:
    """Bytes as they are."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    async def send(self, content: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, content)

    async def receive(self) -> bytes:
        """Some bytes; empty at the end."""
        return await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES)


class Tls:
    """A TLS client; the handshake first, then bytes. Every method raises OSError, of which ssl.SSLError is one kind."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, *, server_name: str) -> None:
        """Raises ValueError: ``server_name`` can be no server name."""
        self._socket = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session: Final = context.wrap_bio(self._in, self._out, server_hostname=server_name)
        self.first_bytes = b""
        """How the other end began to talk, at most 16 bytes."""

    async def handshake(self) -> None:
        await self._through(self.session.do_handshake)

    async def send(self, content: bytes) -> None:
        """Write; an end that has closed shows at the next :meth:`receive`, with its reason if it gave one."""
        self.session.write(content)
        with suppress(BrokenPipeError, ConnectionResetError):
            await self._flush()

    async def receive(self) -> bytes:
        """Some bytes; empty at the end."""
        try:
            return await self._through(lambda: self.session.read(_READ_BYTES))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def _through(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # our alert: the other end's log then has the reason too
                raise
            else:
                await self._flush()
                return result

    async def _fill(self) -> None:
        received = await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES)
        if received:
            self.first_bytes = (self.first_bytes + received)[:16]
            self._in.write(received)
        else:
            self._in.write_eof()

    async def _flush(self) -> None:
        if waiting := self._out.read():
            await asyncio.get_running_loop().sock_sendall(self._socket, waiting)
