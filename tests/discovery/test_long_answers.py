"""A long answer of which the connection is closed at once, read in the event loop that the control plane runs in."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import uvloop
from tests.discovery.mesh import EGRESS, HOST, INGRESS, Mesh

from isthmus.discovery.exchange import call

pytestmark = pytest.mark.slow
LENGTH = 3 * 1024 * 1024


@contextlib.contextmanager
def answering_at_length(context: ssl.SSLContext) -> Iterator[int]:
    """A gateway that has the whole answer, and closes its side as soon as it is sent."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = server.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LENGTH + bytes(LENGTH))
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_the_end_of_a_long_answer_is_not_lost(mesh: Mesh) -> None:
    """However fast a gateway hangs up, and however busy the reader is, all of a list of megabytes arrives."""

    async def read(port: int) -> int:
        async with call(mesh.route(port, caller=INGRESS), "/v1/services/") as answer:
            length = 0
            while some := await answer.read_some():
                length += len(some)
                await asyncio.sleep(0.001)  # a loop with other work
            return length

    with answering_at_length(mesh.serves(EGRESS)) as port:
        for _ in range(3):
            assert await asyncio.to_thread(uvloop.run, read(port)) == LENGTH
