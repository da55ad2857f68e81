"""The listeners and clusters in real Envoys: who gets through two gateways, and who does not."""

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh, Proxy, running

from isthmus.envoy import cluster, egress, endpoint, ingress, message, secret, tls
from isthmus.federation.names import CERTIFICATE_HEADER, parse_sni
from isthmus.federation.plan import (
    AdmittedPeer,
    ControlPlane,
    EgressPlan,
    Endpoint,
    ExportTarget,
    ImportedPort,
    IngressPlan,
    RemotePeer,
)
from isthmus.identity import SpiffeId, TrustBundle
from isthmus.xds import Resource, ResourceTable

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
INGRESS, EGRESS, SERVICE, PILOT = "127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.0.4"
RATINGS = ExportTarget("bookinfo", "ratings", 9080)
EXPORTED = "ratings.bookinfo.svc.red-mesh-exports.local"


def resources(messages: list[object]) -> list[Resource]:
    return [Resource.of(each.name, message.serialised(each)) for each in messages]  # type: ignore[attr-defined]


@dataclass
class Federation:
    """Green exports ``ratings`` to red."""

    red: Mesh
    green: Mesh
    ingress: Proxy
    egress: Proxy
    exports: dict[str, ExportTarget]

    def peer(self) -> RemotePeer:
        return RemotePeer(
            name="green-mesh",
            discovery_name="discovery.red-system.svc.green-mesh.local",
            remote_checksum=42,
            discovery=(Endpoint(INGRESS, 8188),),
            services=(Endpoint(INGRESS, 15443),),
            bundle=self.green.bundle,
        )

    def admitted(self) -> AdmittedPeer:
        return AdmittedPeer("red-mesh", self.red.account("egress-service-account"), self.red.bundle)

    def admit(self, peer: AdmittedPeer) -> None:
        plan = IngressPlan(ControlPlane(PILOT, self.green.account("istiod")), (peer,))
        table = self.ingress.table
        secrets = [
            secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle]),
            secret.trust_secret(tls.ALL_BUNDLES, [peer.bundle]),
        ]
        table.replace(message.SECRET, resources(secrets))
        table.replace(message.CLUSTER, resources([cluster.pilot(plan.control_plane)]))
        table.replace(message.LISTENER, resources(ingress.listeners(plan, INGRESS)))
        table.replace(message.ROUTES, resources(ingress.routes(plan)))

    def connect(self, peer: RemotePeer, servers: tuple[SpiffeId, ...] | None = None) -> None:
        servers = servers or (self.green.account("ingress-service-account"),)
        port = ImportedPort(20001, peer.name, EXPORTED, 9080, servers)
        plan = EgressPlan(ControlPlane(PILOT, self.red.account("istiod")), (peer,), {20001: port})
        table = self.egress.table
        table.replace(message.SECRET, resources([secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle])]))
        table.replace(message.CLUSTER, resources([cluster.discovery(peer), cluster.imported(port, peer)]))
        table.replace(message.LISTENER, resources(egress.listeners(plan, EGRESS)))
        table.replace(message.ROUTES, resources(egress.routes(plan)))

    def exported_cluster(self, name: str) -> Resource | None:
        server_name = name.removeprefix(cluster.EXPORT_PREFIX)
        target = self.exports.get(parse_sni(server_name).hostname)
        return None if target is None else resources([cluster.exported(server_name, target)])[0]


def endpoints_of(name: str) -> Resource | None:
    targets = {RATINGS.key: [Endpoint(SERVICE, 9080)]}
    found = targets.get(name)
    return None if found is None else Resource.of(name, message.serialised(endpoint.load_assignment(name, found)))


@pytest.fixture
async def federation(folder: Path) -> AsyncIterator[Federation]:
    red, green = Mesh.named("red"), Mesh.named("green")
    exports = {EXPORTED: RATINGS}
    proxies = []
    for name, mesh, account in (("in", green, "ingress-service-account"), ("out", red, "egress-service-account")):
        (folder / name).mkdir()
        proxy = Proxy(ResourceTable(), ResourceTable(), folder / name)
        proxy.set_identity(mesh.svid(mesh.account(account)), mesh.bundle)
        proxies.append(proxy)
    built = Federation(red, green, proxies[0], proxies[1], exports)
    built.ingress.table = ResourceTable({message.CLUSTER: built.exported_cluster, message.ENDPOINTS: endpoints_of})
    built.admit(built.admitted())
    built.connect(built.peer())
    server = await asyncio.start_server(_serve, SERVICE, 9080)
    async with server, running(built.ingress), running(built.egress):
        yield built


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfive")
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.close()


async def request(host: str, port: int, *, context: ssl.SSLContext | None = None, sni: str | None = None) -> bytes:
    """All bytes that come back for one HTTP request; none if the connection is refused or closed."""
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=sni)
        writer.write(b"GET /ratings/1 HTTP/1.1\r\nhost: ratings\r\n\r\n")
        answer = await reader.read()
        writer.close()
    except OSError:
        return b""
    return answer


async def wait_served(host: str = EGRESS, port: int = 20001) -> bytes:
    async with asyncio.timeout(15):
        while not (answer := await request(host, port)):
            await asyncio.sleep(0.05)
    return answer


def client_context(mesh: Mesh, account: str, folder: Path) -> ssl.SSLContext:
    """A TLS client that presents ``account`` of ``mesh`` and trusts anybody: the server's checks are what is tested."""
    svid = mesh.svid(mesh.account(account))
    path = folder / f"{mesh.domain}-{account}.pem"
    path.write_bytes(svid.chain_pem + svid.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(path)
    return context


async def test_request_crosses_two_gateways(federation: Federation) -> None:
    """A plain request at the egress's gateway port is answered by the service behind the other mesh's ingress."""
    assert (await wait_served()).endswith(b"five")
    await federation.ingress.wait_for('"kind":"connection"')
    await federation.egress.wait_for('"kind":"connection"')
    (inbound,) = [line for line in federation.ingress.access_log() if line["kind"] == "connection"]
    assert inbound["client"] == "spiffe://red.local/ns/red-system/sa/egress-service-account"
    assert inbound["peer"] == "red-mesh"
    outbound = federation.egress.access_log()[-1]
    assert outbound["server"] == "spiffe://green.local/ns/green-system/sa/ingress-service-account"
    assert outbound["service"] == EXPORTED
    assert federation.ingress.rejections == federation.egress.rejections == []


async def test_only_the_client_identity_gets_through(federation: Federation, folder: Path) -> None:
    """Another identity of the same root, and the right identity of another root, get no byte of the service."""
    await wait_served()
    server_name = f"outbound_.9080_._.{EXPORTED}"
    right = client_context(federation.red, "egress-service-account", folder)
    assert (await request(INGRESS, 15443, context=right, sni=server_name)).endswith(b"five")
    other_account = client_context(federation.red, "default", folder)
    assert await request(INGRESS, 15443, context=other_account, sni=server_name) == b""
    impostor = client_context(Mesh.named("red"), "egress-service-account", folder / "in")
    assert await request(INGRESS, 15443, context=impostor, sni=server_name) == b""
    from_green = client_context(federation.green, "ingress-service-account", folder)
    assert await request(INGRESS, 15443, context=from_green, sni=server_name) == b""


@pytest.mark.parametrize(
    "server_name",
    [
        "outbound_.9080_._.details.bookinfo.svc.red-mesh-exports.local",
        "details.bookinfo.svc.red-mesh-exports.local",
        "outbound_.9080_._.ratings.bookinfo.svc.cluster.local",
        "outbound_.9080_._.ratings.bookinfo.svc.blue-mesh-exports.local",
        "ratings.bookinfo",
        "pilot",
    ],
)
async def test_nothing_else_can_be_asked_for(federation: Federation, folder: Path, server_name: str) -> None:
    """The admitted peer reaches no service that is not exported, by any server name."""
    await wait_served()
    right = client_context(federation.red, "egress-service-account", folder)
    assert await request(INGRESS, 15443, context=right, sni=server_name) == b""


async def test_withdrawn_export_is_unreachable_at_once(federation: Federation) -> None:
    """When the pilot says that the cluster is gone, the next connection gets nothing; exported again, it is served."""
    await wait_served()
    federation.exports.clear()
    name = f"{cluster.EXPORT_PREFIX}outbound_.9080_._.{EXPORTED}"
    federation.ingress.table.invalidate(message.CLUSTER, [name])
    async with asyncio.timeout(5):
        while await request(EGRESS, 20001):
            await asyncio.sleep(0.02)
    federation.exports[EXPORTED] = RATINGS
    federation.ingress.table.invalidate(message.CLUSTER, [name])
    assert (await wait_served()).endswith(b"five")


async def test_changed_client_identity_takes_effect(federation: Federation) -> None:
    """A new clientID shuts the old identity out without a restart; corrected, it is let in again."""
    await wait_served()
    wrong = replace(federation.admitted(), client=federation.red.account("someone-else"))
    federation.admit(wrong)
    async with asyncio.timeout(5):
        while await request(EGRESS, 20001):
            await asyncio.sleep(0.02)
    federation.admit(federation.admitted())
    assert (await wait_served()).endswith(b"five")


@pytest.mark.parametrize("field", ["client", "trusted_as", "peer"])
async def test_open_connections_end_with_the_right_to_them(federation: Federation, field: str) -> None:
    """Another client identity, a root that went, a peer that went: what was open is closed, and not before."""
    await wait_served()
    reader, writer = await asyncio.open_connection(EGRESS, 20001)
    writer.write(b"GET /ratings/1 ")
    peer = federation.admitted()
    federation.admit(replace(peer, bundle=TrustBundle.of(peer.bundle.trust_domain, peer.bundle.roots)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await reader.read(1)
    match field:
        case "client":
            federation.admit(replace(peer, client=federation.red.account("someone-else")))
        case "trusted_as":
            federation.admit(replace(peer, trusted_as="2"))
        case _:
            federation.ingress.table.replace(message.LISTENER, [])
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_egress_refuses_a_server_of_another_identity(federation: Federation) -> None:
    """The egress talks only to the ingress identities that the service's message names."""
    await wait_served()
    federation.connect(federation.peer(), servers=(federation.green.account("impostor"),))
    async with asyncio.timeout(5):
        while await request(EGRESS, 20001):
            await asyncio.sleep(0.02)
    await federation.egress.wait_for("CERTIFICATE_VERIFY_FAILED")


async def test_egress_refuses_a_server_of_another_root(federation: Federation) -> None:
    """A server whose certificate another root of the same trust domain has signed is refused."""
    await wait_served()
    federation.connect(replace(federation.peer(), bundle=Mesh.named("green").bundle))
    async with asyncio.timeout(5):
        while await request(EGRESS, 20001):
            await asyncio.sleep(0.02)
    federation.connect(federation.peer())
    assert (await wait_served()).endswith(b"five")


async def test_refused_handshake_is_one_line_with_its_cause(federation: Federation, folder: Path) -> None:
    """A client of an unknown root leaves a line that says so; one that is served leaves none of that kind."""
    await wait_served()
    impostor = client_context(Mesh.named("red"), "egress-service-account", folder / "in")
    for port in (15443, 8188):
        assert await request(INGRESS, port, context=impostor, sni=f"outbound_.9080_._.{EXPORTED}") == b""
    await federation.ingress.wait_for('"refused"', times=2)
    refused = [line for line in federation.ingress.access_log() if line["kind"] == "refused"]
    assert len(refused) == 2
    assert all("CERTIFICATE_VERIFY_FAILED" in str(line["downstream_failure"]) for line in refused)


async def echo_pilot(mesh: Mesh, folder: Path) -> asyncio.Server:
    """Stands for the pilot: tells which path it was asked, and lies about its gateway's certificate; mutual TLS."""
    context = client_context(mesh, "istiod", folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / f"{mesh.domain}-istiod.pem")
    assert context is not None

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n" % len(path))
        writer.write(f"{CERTIFICATE_HEADER}: 99999999999\r\n\r\n".encode() + path)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, PILOT, 8188, ssl=server)


async def discover(context: ssl.SSLContext, host: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and body of one discovery request; status 0 if the connection is refused."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    try:
        reader, writer = await asyncio.open_connection(host, 8188, ssl=context, server_hostname="anything.example")
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length is not None else b""
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return 0, ""
    return (int(head.split()[1]), body.decode()) if head else (0, "")


def right_headers(federation: Federation) -> dict[str, str]:
    peer = federation.peer()
    return {"discovery_service": peer.discovery_name, "remote": "42", "isthmus_peer_version": peer.version}


async def test_discovery_crosses_two_gateways(federation: Federation, folder: Path) -> None:
    """A call with the right headers reaches the other pilot under the name that *it* gives us; others get 404."""
    await wait_served()
    pilot = client_context(federation.red, "istiod", folder)
    async with await echo_pilot(federation.green, folder):
        for path, arrives in (("/v1/watch", "/v1/watch/red-mesh"), ("/v1/services/", "/v1/services/red-mesh")):
            assert await discover(pilot, EGRESS, path, **right_headers(federation)) == (200, arrives)
        assert (await discover(pilot, EGRESS, "/v1/peer", **right_headers(federation)))[1] == "/v1/peer/red-mesh"
        assert (await discover(pilot, EGRESS, "/v1/watch"))[0] == 404
        assert (await discover(pilot, EGRESS, "/v1/watch", **{**right_headers(federation), "remote": "43"}))[0] == 404
        assert (await discover(pilot, EGRESS, "/v1/services", **right_headers(federation)))[0] == 404
        assert (await discover(pilot, EGRESS, "/debug", **right_headers(federation)))[0] == 404


async def test_the_end_of_the_peers_certificate_is_told(federation: Federation, folder: Path) -> None:
    """The egress gateway adds to each answer when the certificate ends that it was shown, whatever the peer says."""
    await wait_served()
    pilot = client_context(federation.red, "istiod", folder)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in right_headers(federation).items())
    async with await echo_pilot(federation.green, folder):
        reader, writer = await asyncio.open_connection(EGRESS, 8188, ssl=pilot, server_hostname="anything.example")
        writer.write(f"GET /v1/watch HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n".encode())
        head = (await reader.read()).partition(b"\r\n\r\n")[0].decode()
        writer.close()
    (told,) = re.findall(rf"^{CERTIFICATE_HEADER}: (\d+)\r?$", head, re.MULTILINE)
    assert 0 < int(told) - time.time() <= 3600


async def test_discovery_is_for_the_named_identity_only(federation: Federation, folder: Path) -> None:
    """Another identity of the same root gets 403, one of another root nothing; forged headers do not help."""
    await wait_served()
    right = client_context(federation.red, "egress-service-account", folder)
    other = client_context(federation.red, "default", folder)
    impostor = client_context(Mesh.named("red"), "egress-service-account", folder / "in")
    forged = {"x_forwarded_client_cert": f"URI={federation.red.account('egress-service-account')}"}
    async with await echo_pilot(federation.green, folder):
        assert await discover(right, INGRESS, "/v1/watch") == (200, "/v1/watch/red-mesh")
        assert (await discover(other, INGRESS, "/v1/watch", **forged))[0] == 403
        assert (await discover(impostor, INGRESS, "/v1/watch", **forged))[0] == 0
        for path in ("/v1/watch/blue-mesh", "/v1/watch/red-mesh", "/v1/services/../watch/blue-mesh"):
            assert (await discover(right, INGRESS, path))[0] == 404


async def test_egress_takes_discovery_calls_from_its_pilot_only(federation: Federation, folder: Path) -> None:
    """Other workloads of the mesh cannot speak to the peer in the pilot's name."""
    await wait_served()
    workload = client_context(federation.red, "default", folder)
    assert (await discover(workload, EGRESS, "/v1/watch", **right_headers(federation)))[0] == 0
