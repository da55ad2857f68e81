"""httpx2 on aiohttp's connections, against a server that says what a test wants."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
from tests.sockets import served_at
from tests.waiting import until

from isthmus.aiohttp_transport import LARGE, AiohttpTransport, session


@asynccontextmanager
async def served(answer: bytes, asked: list[bytes] | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server that gives each connection this answer, once it has a whole request, and then is silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        if asked is not None:
            asked.append(head + body)
        writer.write(answer)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    transport = AiohttpTransport(session(ssl.create_default_context(), auto_decompress=False))
    async with server:
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}:{port}", timeout=5) as client:
            yield client
        await until(lambda: not served_at(host, port))


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer on the wire."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return head.encode() + body


async def test_a_request_arrives_as_it_was_made() -> None:
    """Path with its escapes, parameters, headers and body; httpx2 undoes the compression."""
    asked: list[bytes] = []
    answer = response(gzip.compress(b"[1]"), "Content-Encoding: gzip", "Content-Type: application/json")
    async with served(answer, asked) as client:
        got = await client.patch("/a%2Fb", params={"x": "1 2"}, content=b"{}", headers={"Content-Type": "text/x"})
        assert got.json() == [1]
        assert got.headers["Content-Type"] == "application/json"
    assert asked[0].startswith(b"PATCH /a%2Fb?x=1+2 HTTP/1.1\r\n")
    assert b"text/x" in asked[0]
    assert asked[0].endswith(b"\r\n\r\n{}")


async def test_a_large_body_arrives_whole() -> None:
    """A body of several megabytes is sent in parts."""
    asked: list[bytes] = []
    async with served(response(b"ok"), asked) as client:
        await client.post("/", content=bytes(40 * LARGE))
    assert asked[0].endswith(bytes(40 * LARGE))


async def test_redirects_and_errors_are_answers() -> None:
    """Nothing is followed; an answer without a Content-Type has an empty one."""
    async with served(response(b"", "Location: http://127.0.0.1:1/", status="302 Found")) as client:
        got = await client.get("/")
        assert (got.status_code, got.headers["Content-Type"]) == (302, "")


async def test_nobody_listens() -> None:
    """A refused connection is an error of the network."""
    async with served(b"") as client:
        pass
    transport = AiohttpTransport(session(ssl.create_default_context(), auto_decompress=False))
    async with httpx2.AsyncClient(transport=transport, base_url=client.base_url) as late:
        with pytest.raises(httpx2.NetworkError, match=str(client.base_url.port)):
            await late.get("/")


@pytest.mark.parametrize("answer", [b"", response(b"abc")[:-1]], ids=["nothing", "half a body"])
async def test_an_answer_that_does_not_come(answer: bytes) -> None:
    """A silent server is a timeout, whether or not it has begun to answer."""
    async with served(answer) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/", timeout=0.1)


async def test_the_rest_of_an_answer_is_not_waited_for() -> None:
    """Whoever leaves a stream in its middle gives up the connection, and the next request has another."""
    asked: list[bytes] = []
    async with served(response(b"abc")[:-1], asked) as client:
        for _ in range(2):
            async with client.stream("GET", "/") as got:
                assert await anext(got.aiter_bytes()) == b"ab"
    assert len(asked) == 2
