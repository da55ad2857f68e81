"""A peer that says, byte by byte, what a test tells it to: old, broken or hostile."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.discovery.mesh import HOST, all_closed
from tests.waiting import until

from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import ServiceMessage, WatchEvent, encode

HANG: Final = b"<hang>"
"""In a script: say no more, and keep the connection open."""
Script = Mapping[str, Sequence[bytes]]


@dataclass
class ScriptedPeer:
    """Plays one script for each path, and answers 404 to any other; remembers what it was asked.

    ``answers`` of a path are said one after another in one answer; those under ``in_turn`` are whole answers, one for
    each request, the last of them for all that follow.
    """

    answers: Script = field(default_factory=dict)
    in_turn: Script = field(default_factory=dict)
    greeting: bytes = b""
    requests: list[bytes] = field(default_factory=list)
    port: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        for piece in self._script(request.split()[1].decode()):
            if piece == HANG:
                await reader.read()
            else:
                writer.write(piece)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    def _script(self, path: str) -> Sequence[bytes]:
        if turns := self.in_turn.get(path):
            count = sum(request.split()[1].decode() == path for request in self.requests)
            return [turns[min(count, len(turns)) - 1]]
        return self.answers.get(path, [b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"])

    async def _serve_until_gone(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self.serve(reader, writer)
        except (OSError, EOFError):
            pass  # the client has closed the connection, as clients do
        finally:
            writer.transport.abort()
            self._open.discard(writer)

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None) -> AsyncIterator["ScriptedPeer"]:
        """The peer behind a port of its own; at the end, no connection is left."""
        server = await asyncio.start_server(self._serve_until_gone, HOST, 0, ssl=context)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                for writer in self._open:
                    writer.transport.abort()
                await until(lambda: not self._open)
                await all_closed(self.port)


def head(*headers: str) -> bytes:
    """The start of a chunked answer."""
    lines = ("HTTP/1.1 200 OK", "content-type: application/json", "transfer-encoding: chunked", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def answered_list(*services: ServiceMessage) -> bytes:
    return answer(encode(Catalogue(services).as_list()))


def told_add(service: ServiceMessage, *others: ServiceMessage) -> bytes:
    """A watch's line that tells of a new service beside others."""
    event = WatchEvent("add", service, Catalogue([*others, service]).checksum)
    return chunk(encode(event) + b"\r\n")
