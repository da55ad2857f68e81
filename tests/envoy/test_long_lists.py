"""A long answer of a peer through both gateways, to a control plane that has no time for it at the moment."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from tests.envoy.test_data_path import (
    EGRESS,
    PILOT,
    Federation,
    client_context,
    federation,
    right_headers,
    wait_served,
)

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
__all__ = ["federation"]
LENGTH = 5 * 1024 * 1024
"""What gateways and kernel hold for a caller who does not read, and more: the end is in the last gateway."""
BUSY_S = 2.5
"""Longer than the second after which an Envoy by itself would hang up."""


async def answer_at_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stands for the peer's control plane: a list of ten thousands of services."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % LENGTH)
    writer.write(bytes(LENGTH))
    await writer.drain()
    writer.close()


async def test_a_long_list_waits_for_a_busy_control_plane(federation: Federation, folder: Path) -> None:
    """Who does not read for a while still gets all of it."""
    await wait_served()
    pilot = client_context(federation.red, "istiod", folder)
    client_context(federation.green, "istiod", folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / f"{federation.green.domain}-istiod.pem")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    small.setblocking(False)
    async with await asyncio.start_server(answer_at_length, PILOT, 8188, ssl=server):
        await asyncio.get_running_loop().sock_connect(small, (EGRESS, 8188))
        reader, writer = await asyncio.open_connection(sock=small, ssl=pilot, server_hostname="egress")
        headers = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in right_headers(federation).items())
        writer.write(f"GET /v1/services/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(BUSY_S)  # that is what is tested: nobody reads meanwhile
        rest = await reader.read(-1)
        writer.close()
    assert rest.count(0) == LENGTH
