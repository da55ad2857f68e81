"""Watches through one ingress gateway in a real Envoy: what one peer notices when another comes, goes or changes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh, Proxy, running
from tests.envoy.test_data_path import INGRESS, PILOT, client_context, discover, resources
from tests.waiting import until

from isthmus.envoy import cluster, ingress, message, secret, tls
from isthmus.federation.plan import AdmittedPeer, ControlPlane, IngressPlan
from isthmus.xds import ResourceTable

pytestmark = [pytest.mark.envoy, pytest.mark.slow]


@dataclass
class Gateway:
    """The ingress gateway of blue for peers red and green, whose pilot never ends a watch."""

    meshes: dict[str, Mesh]
    own: Mesh
    proxy: Proxy
    folder: Path

    def peer(self, name: str, account: str = "egress") -> AdmittedPeer:
        return AdmittedPeer(f"{name}-mesh", self.meshes[name].account(account), self.meshes[name].bundle)

    def admit(self, *peers: AdmittedPeer) -> None:
        plan = IngressPlan(ControlPlane(PILOT, self.own.account("istiod")), peers)
        secrets = [secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle]) for peer in peers]
        secrets.append(secret.trust_secret(tls.ALL_BUNDLES, [peer.bundle for peer in peers]))
        self.proxy.table.replace(message.SECRET, resources([*secrets]))
        self.proxy.table.replace(message.CLUSTER, resources([cluster.pilot(plan.control_plane)]))
        self.proxy.table.replace(message.LISTENER, resources(ingress.listeners(plan, INGRESS)))
        self.proxy.table.replace(message.ROUTES, resources(ingress.routes(plan)))

    def client(self, name: str, account: str = "egress") -> ssl.SSLContext:
        return client_context(self.meshes[name], account, self.folder)

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[asyncio.StreamReader]:
        """A watch of that peer that stands."""
        reader, writer = await asyncio.open_connection(INGRESS, 8188, ssl=self.client(name), server_hostname="any")
        writer.write(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        yield reader
        writer.close()

    async def wait_status(self, name: str, status: int, account: str = "egress") -> None:
        """Until a call of that peer gets this answer."""

        async def is_answered() -> bool:
            return (await discover(self.client(name, account), INGRESS, "/v1/nothing"))[0] == status

        await until(is_answered)


@asynccontextmanager
async def pilot(mesh: Mesh, folder: Path) -> AsyncIterator[None]:
    """Answers each call, and goes on answering."""
    client_context(mesh, "istiod", folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{mesh.domain}-istiod.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, PILOT, 8188, ssl=context):
        yield


@pytest.fixture
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    meshes, own = {name: Mesh.named(name) for name in ("red", "green")}, Mesh.named("blue")
    proxy = Proxy(ResourceTable(), ResourceTable(), folder)
    proxy.set_identity(own.svid(own.account("ingress-service-account")), own.bundle)
    built = Gateway(meshes, own, proxy, folder)
    built.admit(built.peer("red"))
    async with pilot(own, folder), running(proxy):
        await built.wait_status("red", 404)
        yield built


async def stays(watch: asyncio.StreamReader, for_s: float) -> bool:
    try:
        async with asyncio.timeout(for_s):
            return await watch.read(1) != b""
    except TimeoutError:
        return True


async def test_watches_outlive_what_other_peers_do(gateway: Gateway) -> None:
    """Another peer that comes, changes its identity, gets a second root and goes, breaks no watch."""
    red, green = gateway.peer("red"), gateway.peer("green")
    async with gateway.watch("red") as watch:
        gateway.admit(red, green)
        await gateway.wait_status("green", 404)
        gateway.admit(red, gateway.peer("green", "another"))
        await gateway.wait_status("green", 404, "another")
        await gateway.wait_status("green", 403)
        gateway.admit(red)
        await gateway.wait_status("green", 0, "another")
        assert await stays(watch, 2.5)
    assert gateway.proxy.rejections == []


async def test_a_connection_without_right_is_closed(gateway: Gateway) -> None:
    """Whoever is no peer any more is refused on the connection that it has, and loses it when it asks for nothing."""
    reader, writer = await asyncio.open_connection(INGRESS, 8188, ssl=gateway.client("red"), server_hostname="any")
    writer.write(b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b" 404 " in await reader.readuntil(b"\r\n\r\n")
    gateway.admit(gateway.peer("red", "another"))
    await gateway.wait_status("red", 404, "another")
    writer.write(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b" 403 " in await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(ingress.IDLE_S + 2):
        await reader.read()
    writer.close()


async def test_watches_end_when_a_root_is_taken_away(gateway: Gateway) -> None:
    """A connection may have been let in by that root, so that none goes on."""
    async with gateway.watch("red") as watch:
        gateway.admit(replace(gateway.peer("red"), roots_taken_away=1))
        async with asyncio.timeout(4):
            assert await watch.read() in {b"", b"0\r\n\r\n"}
    async with gateway.watch("red") as again:
        assert await stays(again, 1.5)
