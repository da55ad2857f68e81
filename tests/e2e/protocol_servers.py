"""One server for each way to talk, on ports 7001 to 7006 of ``POD_IP``; run in a pod by tests.e2e.test_protocols."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import grpc

ECHO, GREETING, HTTP, GRPC, WEBSOCKET, COUNT = range(7001, 7007)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

open_echoes = 0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything back as it comes; when the client has said all, so have we."""
    global open_echoes  # noqa: PLW0603  (one process, one loop)
    open_echoes += 1
    try:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.write_eof()
    finally:
        open_echoes -= 1


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The server speaks first, as those of SMTP and MySQL do; told to, it breaks the connection off."""
    writer.write(b"220 ready\r\n")
    while line := await reader.readline():
        if line == b"ABORT\r\n":
            writer.transport.abort()
            return
        writer.write(b"250 " + line)


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/1.1 with keep-alive: says which request of its connection it was, and how long its body."""
    number = 0
    while head := await _head(reader):
        number += 1
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        body = b"request %d with %d bytes" % (number, length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 6455: upgraded, then one short masked text frame after another comes back unmasked."""
    lines = (await _head(reader)).split(b"\r\n")
    key = next(line.split(b": ")[1] for line in lines if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n")
    writer.write(b"sec-websocket-accept: " + accept + b"\r\n\r\n")
    while True:
        opcode, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length & 127)
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
        writer.write(bytes([opcode, len(text)]) + text)


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """How many connections to ``echo`` are open."""
    del reader
    writer.write(str(open_echoes).encode())


class Calls(grpc.GenericRpcHandler):
    """gRPC of bytes: ``/sample/Unary`` gives back what it got, ``/sample/Stream`` each message as it comes."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if handler_call_details.method == "/sample/Unary":
            return grpc.unary_unary_rpc_method_handler(_unary)
        return grpc.stream_stream_rpc_method_handler(_stream)


async def _unary(request: bytes, context: object) -> bytes:
    del context
    return request


async def _stream(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    del context
    async for request in requests:
        yield request


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def closing(serve: Serve) -> Serve:
    """Serve, and close; a client that has gone is no error."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await serve(reader, writer)
            await writer.drain()
        writer.close()

    return served


async def main() -> None:
    """Serve for ever."""
    host = os.environ["POD_IP"]
    calls = grpc.aio.server()
    calls.add_generic_rpc_handlers([Calls()])
    calls.add_insecure_port(f"{host}:{GRPC}")
    await calls.start()
    served = {ECHO: echo, GREETING: greet, HTTP: http, WEBSOCKET: websocket, COUNT: count}
    for port, serve in served.items():
        await asyncio.start_server(closing(serve), host, port, backlog=1024)
    await calls.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
