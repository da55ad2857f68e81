"""What is made of the answers of Envoy's admin interface; an Envoy that answers well is in ``test_agent``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from isthmus.gateway.admin import Admin, AdminError


@asynccontextmanager
async def answering(path: Path, body: str) -> AsyncIterator[Admin]:
    """An admin interface that answers everything with this text."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = body.encode()
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield Admin(path)


async def test_connections_are_added_up(tmp_path: Path) -> None:
    """Those of all listeners."""
    lines = "listener.discovery.downstream_cx_active: 2\nlistener.services.downstream_cx_active: 3\n"
    async with answering(tmp_path / "admin.sock", lines) as admin:
        assert await admin.active_connections() == 5


async def test_an_answer_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    """A drain goes on after it, and Envoy is terminated as ever."""
    async with answering(tmp_path / "admin.sock", "upstream connect error\n") as admin:
        with pytest.raises(AdminError, match="does not tell its connections: 'upstream connect error"):
            await admin.active_connections()
