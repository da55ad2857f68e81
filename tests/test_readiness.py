"""The probe's answer, over real sockets."""

import asyncio

import pytest
from tests.gateway.pod import get

from isthmus.readiness import MAX_REQUEST_BYTES, Answer, serve_readiness


async def ready() -> str | None:
    return None


async def not_ready() -> str | None:
    return "no certificate: the pilot does not answer"


async def exchange(port: int, request: bytes) -> bytes:
    """Bytes there and back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_ready_pod_says_200() -> None:
    """The probe succeeds."""
    async with serve_readiness("127.0.0.1", 0, ready, path="/healthz/ready") as port:
        assert await get("127.0.0.1", port, "/healthz/ready?from=kubelet") == (200, "ready")


async def test_a_pod_that_is_not_ready_says_why() -> None:
    """The probe fails, and whoever looks is told the reason."""
    async with serve_readiness("127.0.0.1", 0, not_ready, path="/healthz/ready") as port:
        assert await get("127.0.0.1", port, "/healthz/ready") == (503, "no certificate: the pilot does not answer")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", b"404", id="another path"),
        pytest.param(b"GET /healthz/readyz HTTP/1.1\r\n\r\n", b"404", id="a longer path"),
        pytest.param(b"POST /healthz/ready HTTP/1.1\r\n\r\n", b"405", id="another method"),
        pytest.param(b"\x16\x03\x01\r\n\r\n", b"404", id="no HTTP"),
    ],
)
async def test_nothing_else_is_served(request_: bytes, status: bytes) -> None:
    """One path, two methods."""
    async with serve_readiness("127.0.0.1", 0, ready, path="/healthz/ready") as port:
        assert (await exchange(port, request_)).split()[1] == status


async def test_a_page_is_served_beside_readiness() -> None:
    """What is there to tell besides has its own path and its own kind of body, whether the process is ready or not."""

    async def metrics() -> Answer:
        return Answer("200 OK", b"up 1\n", "text/plain; version=0.0.4")

    async with serve_readiness("127.0.0.1", 0, not_ready, pages={"/metrics": metrics}) as port:
        answer = await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 5\r\n")
        assert answer.endswith(b"\r\n\r\nup 1\n")
        assert (await exchange(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")) == answer.removesuffix(b"up 1\n")
        assert (await get("127.0.0.1", port, "/ready"))[0] == 503


async def test_an_endless_request_is_cut() -> None:
    """More bytes than a probe has are not collected."""
    async with serve_readiness("127.0.0.1", 0, ready, path="/healthz/ready") as port:
        assert await exchange(port, b"GET /" + b"x" * 4 * MAX_REQUEST_BYTES) == b""
        assert (await get("127.0.0.1", port, "/healthz/ready"))[0] == 200
