"""Real connections and datagrams through the proxy, with both event loops."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvloop

from isthmus.lab.proxy.forwarding import Backend, Frontend
from isthmus.lab.proxy.tcp import TcpForward
from isthmus.lab.proxy.udp import UdpForward

ADDRESS, BACKEND, CLIENT = "127.15.0.1", "127.15.0.2", "127.15.0.3"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Run a coroutine on either loop: their transports differ."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runner(work: Any) -> Any:
        with asyncio.Runner(loop_factory=factory) as loop:
            return loop.run(work)

    return runner


@contextmanager
def free_port(kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    yield port


@asynccontextmanager
async def listening(kind: type[TcpForward] | type[UdpForward], *backends: Backend) -> AsyncIterator[int]:
    """A forwarded address; its port. Connections may still be open at the end, and are waited for."""
    number = socket.SOCK_STREAM if kind is TcpForward else socket.SOCK_DGRAM
    with free_port(number) as port:
        forward = kind(Frontend("any", ADDRESS, port), backends)
        forward.listen()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(forward.run(group))
            try:
                yield port
            finally:
                task.cancel()
                await asyncio.wait([task])
                forward.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Backend]:
    """A backend."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, BACKEND, 0)
    async with server:
        yield Backend(BACKEND, server.sockets[0].getsockname()[1])


@asynccontextmanager
async def forwarding(serve: Serve) -> AsyncIterator[int]:
    """A forwarded address with one backend; its port."""
    async with serving(serve) as backend, listening(TcpForward, backend) as port:
        yield port


async def say_who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(writer.get_extra_info("peername")[0].encode())


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    content = hashlib.sha256()
    while data := await reader.read(65536):
        content.update(data)
    writer.write(content.hexdigest().encode())


async def talk(port: int, data: bytes, *, source: str = CLIENT) -> bytes:
    """Send, end, and read all of the answer."""
    reader, writer = await asyncio.open_connection(ADDRESS, port, local_addr=(source, 0))
    writer.write(data)
    await writer.drain()
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_the_client_is_seen(run: Callable[[Any], Any]) -> None:
    """The backend sees the client's own address."""

    async def scenario() -> bytes:
        async with forwarding(say_who) as port:
            return await talk(port, b"hello\n")

    assert run(scenario()) == CLIENT.encode()


def test_half_close(run: Callable[[Any], Any]) -> None:
    """The end of what the client sends reaches the backend, whose answer still comes; nothing is lost on the way."""
    data = os.urandom(3_000_000)

    async def scenario() -> bytes:
        async with forwarding(digest) as port:
            return await talk(port, data)

    assert run(scenario()) == hashlib.sha256(data).hexdigest().encode()


def test_a_backend_that_speaks_first(run: Callable[[Any], Any]) -> None:
    """What the backend says before the client says anything arrives, even if it closes at once."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")

    async def scenario() -> list[bytes]:
        async with forwarding(greet) as port:
            return [await talk(port, b"") for _ in range(20)]

    assert run(scenario()) == [b"welcome"] * 20


def test_a_slow_reader_slows_the_sender(run: Callable[[Any], Any]) -> None:
    """What a reader does not take is not piled up in the proxy."""

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        for _ in range(1000):
            writer.write(b"x" * 65536)
            try:
                async with asyncio.timeout(0.3):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                break
        writer.transport.abort()

    stuck = asyncio.Event()

    async def scenario() -> None:
        async with forwarding(flood) as port:
            with socket.socket() as client:
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, (ADDRESS, port))
                await stuck.wait()

    run(scenario())
    assert stuck.is_set()


def test_a_dead_backend_is_passed_over(run: Callable[[Any], Any]) -> None:
    """If one backend refuses, another is tried."""

    async def scenario() -> set[bytes]:
        with free_port() as dead:
            async with serving(say_who) as backend, listening(TcpForward, Backend(BACKEND, dead), backend) as port:
                return {await talk(port, b"x\n") for _ in range(10)}

    assert run(scenario()) == {CLIENT.encode()}


def test_no_backend_answers(run: Callable[[Any], Any]) -> None:
    """If none answers the client's connection is reset."""

    async def scenario() -> bool:
        with free_port() as dead:
            async with listening(TcpForward, Backend(BACKEND, dead)) as port:
                try:
                    await talk(port, b"x\n")
                except ConnectionError:
                    return True
        return False

    assert run(scenario())


def test_connections_outlive_the_address(run: Callable[[Any], Any]) -> None:
    """When the address goes, new connections are refused and open ones go on."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)

    async def scenario() -> tuple[bytes, bytes]:
        async with serving(echo) as backend, asyncio.TaskGroup() as group:
            with free_port() as port:
                forward = TcpForward(Frontend("TCP", ADDRESS, port), (backend,))
            forward.listen()
            task = group.create_task(forward.run(group))
            reader, writer = await asyncio.open_connection(ADDRESS, port)
            writer.write(b"one\n")
            first = await reader.readline()
            task.cancel()
            await asyncio.wait([task])
            forward.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(ADDRESS, port)
            writer.write(b"two\n")
            second = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return first, second

    assert run(scenario()) == (b"one\n", b"two\n")


def test_datagrams(run: Callable[[Any], Any]) -> None:
    """Datagrams go there and back, and the backend sees the client's own address."""

    async def scenario() -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        with _udp(BACKEND) as backend, _udp(CLIENT) as client:
            async with listening(UdpForward, Backend(*backend.getsockname())) as port:
                await asyncio.sleep(0)  # the forward reads from its first turn on
                client.connect((ADDRESS, port))
                client.send(b"ping")
                data, source = await _received(backend)
                backend.sendto(data + b" pong", source)
                return await loop.sock_recv(client, 100), source[0]

    assert run(scenario()) == (b"ping pong", CLIENT)


@contextmanager
def _udp(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((address, 0))
        yield sock


async def _received(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    await readable.wait()
    loop.remove_reader(sock.fileno())
    data, address = sock.recvfrom(100)
    return data, address
