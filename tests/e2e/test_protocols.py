"""Every way to talk crosses two meshes, in both directions: one service of several ports, called as an import."""

import asyncio
import base64
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from tests.e2e import protocol_servers as servers
from tests.e2e.conftest import Federation, Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
NAME = "protocols"
PORTS = {
    "tcp-echo": servers.ECHO,
    "tcp-greeting": servers.GREETING,
    "http": servers.HTTP,
    "grpc": servers.GRPC,
    "http-websocket": servers.WEBSOCKET,
    "tcp-count": servers.COUNT,
}
LARGE = 50 * 1024 * 1024
MANY = 500


@dataclass(frozen=True)
class Imported:
    """The service of one mesh as clients in the other reach it."""

    host: str

    @asynccontextmanager
    async def connected(
        self, port: int = servers.ECHO
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def open_echoes(self) -> int:
        async with self.connected(servers.COUNT) as (reader, _):
            return int(await reader.read())

    async def wait_echoes(self, expected: int) -> None:
        async with asyncio.timeout(20):
            while await self.open_echoes() != expected:
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Shared:
    """The service, exported by one site and imported by the other."""

    exporter: Site
    importer: Site

    def give(self) -> None:
        self.exporter.kubectl("apply", "-n", "bookinfo", "-f", "-", stdin=yaml.safe_dump_all(workload()))
        self._append("exportedserviceset", self.exporter, "exportRules")
        self._append("importedserviceset", self.importer, "importRules")

    def take(self) -> None:
        self._remove("importedserviceset", self.importer)
        self._remove("exportedserviceset", self.exporter)
        kinds = "deployment,service,configmap"
        self.exporter.kubectl("delete", kinds, NAME, "-n", "bookinfo", "--wait=false", "--ignore-not-found")

    def host(self) -> str:
        """The address of the import; empty while there is none."""
        label = f"isthmus.io/peer={self.importer.peer}"
        for each in self.importer.get("services", "-A", "-l", label)["items"]:
            if each["metadata"]["annotations"]["isthmus.io/exported-name"].startswith(f"{NAME}."):
                address: str = each["spec"]["clusterIP"]
                return address
        return ""

    def is_answered(self) -> bool:
        try:
            with socket.create_connection((self.host(), servers.COUNT), timeout=5) as connection:
                return connection.recv(10) != b""
        except OSError:
            return False

    def _append(self, kind: str, site: Site, field: str) -> None:
        rule = {"type": "NameSelector", "nameSelector": {"namespace": "bookinfo", "name": NAME}}
        found = site.kubectl("get", kind, site.peer, "-o", "json", check=False)
        rules = json.loads(found.stdout)["spec"][field] if found.returncode == 0 else []
        resource = {
            "apiVersion": "federation.maistra.io/v1",
            "kind": {"exportRules": "ExportedServiceSet", "importRules": "ImportedServiceSet"}[field],
            "metadata": {"name": site.peer, "namespace": site.namespace},
            "spec": {field: [*rules, rule]},
        }
        site.kubectl("apply", "-f", "-", stdin=json.dumps(resource))

    def _remove(self, kind: str, site: Site) -> None:
        """Back to what the example has, which may be nothing."""
        given = site.files / f"{kind}.yaml"
        if given.exists():
            site.kubectl("apply", "-f", str(given))
        else:
            site.kubectl("delete", kind, site.peer, "--ignore-not-found")


def workload() -> list[dict[str, Any]]:
    """The servers as a ConfigMap, a Deployment and a Service."""
    script = Path(servers.__file__).read_text()
    labels = {"app": NAME}
    metadata = {"name": NAME, "namespace": "bookinfo"}
    container = {
        "name": NAME,
        "image": "python:3.13-slim",
        "command": ["python3", "-u", "/app/servers.py"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"tcpSocket": {"port": servers.COUNT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "app", "configMap": {"name": NAME}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    deployment = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    ports = [{"name": name, "port": port} for name, port in PORTS.items()]
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"servers.py": script}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}},
    ]


@pytest.fixture(scope="module", params=["red calls green", "green calls red"])
def imported(request: pytest.FixtureRequest, running_demo: Federation) -> Iterator[Imported]:
    sites = (running_demo.green, running_demo.red)
    shared = Shared(*sites) if request.param == "red calls green" else Shared(*sites[::-1])
    shared.give()
    eventually(shared.is_answered, what="the service answers across the meshes")
    yield Imported(shared.host())
    shared.take()
    eventually(lambda: not shared.host(), what="the import is gone")


async def test_large_bodies_cross_both_ways_at_once(imported: Imported) -> None:
    """50 MB arrive and come back, byte for byte."""
    block = hashlib.sha256(b"seed").digest() * 2048
    async with imported.connected() as (reader, writer), asyncio.timeout(60):

        async def send() -> None:
            for _ in range(LARGE // len(block)):
                writer.write(block)
                await writer.drain()
            writer.write_eof()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            received, size = hashlib.sha256(), 0
            while some := await reader.read(1 << 20):
                received.update(some)
                size += len(some)
    expected = hashlib.sha256()
    for _ in range(LARGE // len(block)):
        expected.update(block)
    assert (size, received.digest()) == (LARGE, expected.digest())


async def test_a_client_may_stop_sending_and_still_listen(imported: Imported) -> None:
    """Half-close: the server sees the end of what the client sends, and its answer to that arrives."""
    async with imported.connected() as (reader, writer), asyncio.timeout(20):
        writer.write(b"the last word")
        writer.write_eof()
        assert await reader.read() == b"the last word"


async def test_a_server_may_speak_first(imported: Imported) -> None:
    """The greeting arrives before the client has sent a byte."""
    async with imported.connected(servers.GREETING) as (reader, writer), asyncio.timeout(20):
        assert await reader.readline() == b"220 ready\r\n"
        writer.write(b"HELO\r\n")
        assert await reader.readline() == b"250 HELO\r\n"


async def test_a_connection_carries_many_requests(imported: Imported) -> None:
    """HTTP/1.1 keep-alive: requests of one connection reach the server as one connection."""
    async with imported.connected(servers.HTTP) as (reader, writer), asyncio.timeout(20):
        for number in (1, 2, 3):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
            await reader.readuntil(b"\r\n\r\n")
            expected = b"request %d with 5 bytes" % number
            assert await reader.readexactly(len(expected)) == expected


async def test_grpc_calls_and_streams(imported: Imported) -> None:
    """HTTP/2 with prior knowledge: a unary call, and a stream on which each message is answered before the next."""
    async with grpc.aio.insecure_channel(f"{imported.host}:{servers.GRPC}") as channel:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/sample/Unary")
        assert await unary(b"one", timeout=20) == b"one"
        streaming: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/sample/Stream")
        stream = streaming(timeout=20)
        for message in (b"first", b"second", b"x" * 100_000):
            await stream.write(message)
            assert await stream.read() == message
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_websockets(imported: Imported) -> None:
    """The upgrade is answered with the key's proof, and frames go both ways."""
    key = base64.b64encode(b"sixteen bytes...")
    async with imported.connected(servers.WEBSOCKET) as (reader, writer), asyncio.timeout(20):
        writer.write(b"GET /chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n")
        writer.write(b"sec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert base64.b64encode(hashlib.sha1(key + servers.GUID, usedforsecurity=False).digest()) in head
        for text in (b"hello", b"again"):
            writer.write(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
            assert await reader.readexactly(2 + len(text)) == bytes([0x81, len(text)]) + text


async def test_many_connections_at_once(imported: Imported) -> None:
    """500 connections are open together, each with its own bytes, and are all gone when they are closed."""
    everyone_is_here = asyncio.Barrier(MANY)

    async def converse(number: int) -> None:
        async with imported.connected() as (reader, writer):
            sent = b"%06d" % number
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent
            await everyone_is_here.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(MANY):
            tasks.create_task(converse(number))
    await imported.wait_echoes(0)


async def test_a_reset_reaches_the_server(imported: Imported) -> None:
    """A client that breaks off leaves no connection open in the other mesh."""
    async with imported.connected() as (reader, writer), asyncio.timeout(20):
        writer.write(b"hello")
        await reader.readexactly(5)
        await imported.wait_echoes(1)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await imported.wait_echoes(0)


async def test_a_reset_reaches_the_client(imported: Imported) -> None:
    """A server that breaks off is noticed by its client."""
    async with imported.connected(servers.GREETING) as (reader, writer), asyncio.timeout(20):
        await reader.readline()
        writer.write(b"ABORT\r\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""
