"""The way in without a certificate, in a real Envoy: one path with one method, and only while somebody is invited."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh, Proxy, running
from tests.waiting import until

from isthmus.envoy import cluster, enrolment, ingress, message, secret, tls
from isthmus.federation.enrolment import MAX_BODY_BYTES
from isthmus.federation.plan import AdmittedPeer, ControlPlane, IngressPlan
from isthmus.mutual_tls import server_context
from isthmus.xds import Resource, ResourceTable

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
INGRESS, PILOT = "127.77.1.1", "127.77.1.4"
NAME = "enrol.green-system.svc.green.local"


@dataclass
class Gateway:
    """Green's ingress gateway, red its peer, and what reaches green's control plane."""

    green: Mesh
    red: Mesh
    envoy: Proxy
    heard: list[bytes] = field(default_factory=list)

    def plan(self, *, peers: int = 1, enrolment: str = NAME) -> None:
        """Serve this plan from now on."""
        peer = AdmittedPeer("red-mesh", self.red.account("egress"), self.red.bundle)
        plan = IngressPlan(ControlPlane(PILOT, self.green.account("istiod")), (peer,) * peers, enrolment)
        bundles = [secret.trust_secret(name, [peer.bundle]) for name in (tls.bundle_name(peer.name), tls.ALL_BUNDLES)]
        self._put(message.SECRET, bundles if peers else [])
        self._put(message.CLUSTER, [cluster.pilot(plan.control_plane)])
        self._put(message.LISTENER, ingress.listeners(plan, INGRESS))
        self._put(message.ROUTES, ingress.routes(plan))

    def _put(self, kind: str, built: list[object]) -> None:
        resources = [Resource.of(each.name, message.serialised(each)) for each in built]  # type: ignore[attr-defined]
        self.envoy.table.replace(kind, resources)

    def anyone(self) -> ssl.SSLContext:
        """A client that trusts green and has no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.green.bundle.pem().decode())
        return context

    def peer(self, folder: Path) -> ssl.SSLContext:
        """A client with red's certificate."""
        context, svid = self.anyone(), self.red.svid(self.red.account("egress"))
        (folder / "red.pem").write_bytes(svid.key_pem + svid.chain_pem)
        context.load_cert_chain(folder / "red.pem")
        return context

    async def pilot(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Green's control plane: hears and answers."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
                self.heard.append(head + await reader.readexactly(int(length.partition(b":")[2])))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()


@pytest.fixture
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    green, red = Mesh.named("green"), Mesh.named("red")
    proxy = Proxy(ResourceTable(), ResourceTable(), folder)
    proxy.set_identity(green.svid(green.account("ingress")), green.bundle)
    built = Gateway(green, red, proxy)
    built.plan()
    context = server_context(green.svid(green.account("istiod")), client_roots=green.bundle)
    server = await asyncio.start_server(built.pilot, PILOT, 8188, ssl=context)
    async with server, running(proxy):
        yield built


async def ask(
    context: ssl.SSLContext, *, name: str = NAME, method: str = "POST", path: str = "/v1/enrol", more: str = ""
) -> bytes:
    """The head of what comes back for one request; nothing if the connection is refused or closed."""
    try:
        reader, writer = await asyncio.open_connection(INGRESS, 8188, ssl=context, server_hostname=name)
    except OSError:
        return b""
    try:
        lines = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n{more}\r\nhello"
        writer.write(lines.encode())
        return await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.transport.abort()


async def wait_open(gateway: Gateway) -> None:
    await until(lambda: ask(gateway.anyone()))
    gateway.heard.clear()


async def wait_closed(context: ssl.SSLContext) -> None:
    async def is_closed() -> bool:
        return not await ask(context)

    await until(is_closed)


async def test_an_enrolment_reaches_the_control_plane(gateway: Gateway) -> None:
    """It comes without anything that its sender claims about the hops before: no certificate, no other address."""
    await wait_open(gateway)
    forged = "x-forwarded-for: 9.9.9.9\r\nx-forwarded-client-cert: URI=spiffe://green.local/ns/a/sa/b\r\n"
    answer = await ask(gateway.anyone(), more=forged + "authorization: proof\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    (heard,) = gateway.heard
    assert heard.startswith(b"POST /v1/enrol ")
    assert heard.endswith(b"hello")
    assert b"x-forwarded-for: 127.0.0.1\r\n" in heard
    assert b"authorization: proof" in heard
    assert b"client-cert" not in heard
    assert b"9.9.9.9" not in heard


async def test_nothing_else_passes_without_a_certificate(gateway: Gateway) -> None:
    """Other paths, other methods and other server names reach nobody, however they are spelled."""
    await wait_open(gateway)
    context = gateway.anyone()
    for method, path in (
        *(
            ("POST", path)
            for path in ("/", "/v1/enrol/", "/v1/enrolx", "/V1/ENROL", "//v1/enrol", "/v1/watch/red-mesh")
        ),
        *(("POST", path) for path in ("/v1/enrol%2f..%2fwatch", "/v1/enrol/../watch", "/v1/services/red-mesh")),
        *((method, "/v1/enrol") for method in ("GET", "PUT", "DELETE", "OPTIONS", "CONNECT")),
    ):
        answer = await ask(context, method=method, path=path)
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), (method, path, answer)
    for name in ("discovery.green-system.svc.green.local", "enrol.red.svc.red.local", f"x.{NAME}", "localhost"):
        assert await ask(context, name=name) == b""
    assert gateway.heard == []


async def test_a_peer_is_served_as_before(gateway: Gateway, folder: Path) -> None:
    """The peer's discovery passes beside it, by certificate; enrolment is no path of it."""
    await wait_open(gateway)
    peer = gateway.peer(folder)
    other = "discovery.red-system.svc.green.local"
    assert (await ask(peer, name=other, method="GET", path="/v1/watch")).startswith(b"HTTP/1.1 200")
    assert (await ask(peer, name=other)).startswith(b"HTTP/1.1 404")
    assert [heard.split()[1] for heard in gateway.heard] == [b"/v1/watch/red-mesh"]


async def test_it_is_closed_while_nobody_is_invited(gateway: Gateway, folder: Path) -> None:
    """With the invitation the way is gone, and open again with the next; the peer's connections stand meanwhile."""
    await wait_open(gateway)
    reader, writer = await asyncio.open_connection(INGRESS, 8188, ssl=gateway.peer(folder), server_hostname="other")
    gateway.plan(enrolment="")
    await wait_closed(gateway.anyone())
    assert await ask(gateway.anyone(), name="other") == b""
    gateway.plan()
    await wait_open(gateway)
    writer.write(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.transport.abort()


async def test_a_gateway_without_peers_enrols_and_does_nothing_else(gateway: Gateway) -> None:
    """The first peer of a gateway can be enrolled; until then whoever comes for anything else is told that it is not
    served, and so is everybody when the invitation is over."""
    gateway.plan(peers=0)
    await wait_open(gateway)
    assert b" 404 " in await ask(gateway.anyone(), name="discovery.red-system.svc.green.local")
    gateway.plan(peers=0, enrolment="")

    async def is_refused() -> bool:
        return b" 404 " in await ask(gateway.anyone())

    await until(is_refused)


async def test_messages_are_small_and_seldom(gateway: Gateway) -> None:
    """A body beyond the bound, and more requests than anyone needs, are refused by the gateway itself."""
    await wait_open(gateway)
    context = gateway.anyone()
    reader, writer = await asyncio.open_connection(INGRESS, 8188, ssl=context, server_hostname=NAME)
    size = MAX_BODY_BYTES + 1
    writer.write(f"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * size)
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.transport.abort()
    answers: list[bytes] = []
    for _ in range(8):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(context)) for _ in range(8)]
        answers += [task.result() for task in asked]
    assert any(answer.startswith(b"HTTP/1.1 429") for answer in answers)
    assert len(gateway.heard) < len(answers)


async def test_silent_connections_do_not_pile_up(gateway: Gateway) -> None:
    """Beyond a few connections the next is refused, before it costs a handshake."""
    await wait_open(gateway)
    context = gateway.anyone()
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    with contextlib.suppress(ConnectionResetError):
        while len(opened) <= enrolment.MAX_CONNECTIONS:
            opened.append(await asyncio.open_connection(INGRESS, 8188, ssl=context, server_hostname=NAME))
    assert len(opened) <= enrolment.MAX_CONNECTIONS
    for _, writer in opened:
        writer.transport.abort()
    await wait_open(gateway)


async def test_the_gateway_shows_who_it_is(gateway: Gateway) -> None:
    """A joiner can check the gateway's identity by the root that its token carries, and asks with no certificate."""
    await wait_open(gateway)
    other = replace(gateway, green=Mesh.named("green")).anyone()
    assert await ask(other) == b""
