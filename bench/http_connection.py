"""A connection to an API server that costs the measuring side as little as possible: HTTP/1.1 by hand, over TLS."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

READ_LIMIT = 1 << 24


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach an API server, from a kubeconfig's current context."""

    host: str
    port: int
    tls: ssl.SSLContext
    headers: str

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        document = yaml.safe_load(kubeconfig.read_text())
        contexts = {one["name"]: one["context"] for one in document["contexts"]}
        context = contexts[document["current-context"]]
        cluster = next(one["cluster"] for one in document["clusters"] if one["name"] == context["cluster"])
        user = next(one["user"] for one in document["users"] if one["name"] == context["user"])
        url = urlsplit(cluster["server"])
        token = f"Authorization: Bearer {user['token']}\r\n" if "token" in user else ""
        return cls(url.hostname or "", url.port or 443, _tls(cluster, user), f"Host: {url.netloc}\r\n{token}")


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cadata=_text(cluster, "certificate-authority"), cafile=cluster.get("certificate-authority")
    )
    if (certificate := _text(user, "client-certificate")) and (key := _text(user, "client-key")):
        with tempfile.NamedTemporaryFile("w") as file:  # 0600; the ssl module reads from files only
            file.write(certificate + "\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def _text(section: dict[str, Any], name: str) -> str | None:
    data = section.get(f"{name}-data")
    return base64.b64decode(data).decode() if data else None


class Connection:
    """One kept connection; one request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        server = self._server
        self._reader, self._writer = await asyncio.open_connection(
            server.host, server.port, ssl=server.tls, limit=READ_LIMIT
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._writer.transport.abort()

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer. Raises RuntimeError for another status than 2xx."""
        headers = await self._begin(method, path, body)
        if b"chunked" in headers:
            return b"".join([chunk async for chunk in self._chunks()])
        length = next(line for line in headers.splitlines() if line.startswith(b"content-length:"))
        return await self._reader.readexactly(int(length.split()[1]))

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of a watch, each as soon as it is there."""
        await self.begin_watch(path)
        rest = b""
        async for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line

    async def begin_watch(self, path: str) -> None:
        """Begin a watch whose lines nobody reads. Raises RuntimeError for another status than 2xx."""
        await self._begin("GET", path, b"")

    async def _begin(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\n{self._server.headers}Accept: application/json\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{head}\r\n".encode() + body)
        headers = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if headers[9:10] != b"2":
            raise RuntimeError(f"{method} {path}: the server answered {headers.splitlines()[0].decode()}")
        return headers

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()


def resident_mb(pid: int) -> float:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_s(pid: int) -> float:
    """How long a process has run on any core, by itself and for it by the kernel. Source: proc(5), /proc/pid/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
