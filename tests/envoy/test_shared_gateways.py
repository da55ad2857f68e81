"""One ingress gateway for two peers, in a real Envoy: who gets what is decided by certificates alone."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh, Proxy, running
from tests.envoy.test_data_path import (
    INGRESS,
    PILOT,
    RATINGS,
    SERVICE,
    _serve,
    client_context,
    discover,
    echo_pilot,
    endpoints_of,
    request,
    resources,
)

from isthmus.envoy import cluster, ingress, message, secret, tls
from isthmus.federation.names import exported_to, parse_sni
from isthmus.federation.plan import AdmittedPeer, ControlPlane, IngressPlan
from isthmus.identity import SpiffeId
from isthmus.xds import Resource, ResourceTable

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
PEERS = ("red", "green")


def exported(peer: str) -> str:
    return f"outbound_.9080_._.ratings.bookinfo.svc.{peer}-mesh-exports.local"


@dataclass
class Blue:
    """Blue lets in red and green at one gateway, and exports ``ratings`` to each."""

    meshes: dict[str, Mesh]
    own: Mesh
    gateway: Proxy
    folder: Path

    def admit(self, *peers: str) -> None:
        admitted = tuple(AdmittedPeer(f"{name}-mesh", self.account(name), self.meshes[name].bundle) for name in peers)
        plan = IngressPlan(ControlPlane(PILOT, self.own.account("istiod")), admitted)
        secrets = [secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle]) for peer in admitted]
        secrets.append(secret.trust_secret(tls.ALL_BUNDLES, [peer.bundle for peer in admitted]))
        self.gateway.table.replace(message.SECRET, resources([*secrets]))
        self.gateway.table.replace(message.CLUSTER, resources([cluster.pilot(plan.control_plane)]))
        self.gateway.table.replace(message.LISTENER, resources(ingress.listeners(plan, INGRESS)))
        self.gateway.table.replace(message.ROUTES, resources(ingress.routes(plan)))

    def account(self, peer: str) -> SpiffeId:
        return self.meshes[peer].account(f"egress-of-{peer}")

    def client(self, peer: str) -> ssl.SSLContext:
        return client_context(self.meshes[peer], f"egress-of-{peer}", self.folder)

    async def ask(self, caller: str, server_name: str) -> bytes:
        return await request(INGRESS, 15443, context=self.client(caller), sni=server_name)

    async def wait_listening(self) -> None:
        async with asyncio.timeout(15):
            while not (await discover(self.client("green"), INGRESS, "/v1/nothing"))[0]:
                await asyncio.sleep(0.05)


def on_demand(name: str) -> Resource | None:
    server_name = name.removeprefix(cluster.EXPORT_PREFIX)
    is_exported = exported_to(parse_sni(server_name).hostname) in {f"{peer}-mesh" for peer in PEERS}
    if not is_exported:
        return None
    body = message.serialised(cluster.exported(server_name, RATINGS))
    return Resource.of(name, body, needs=[(message.ENDPOINTS, RATINGS.key)])


@pytest.fixture(params=["own roots", "one root"])
async def blue(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Blue]:
    """Two peers with a root and a trust domain each, or two peers of one trust domain."""
    red = Mesh.named("red")
    green = Mesh.named("green") if request.param == "own roots" else red
    own = Mesh.named("blue")
    proxy = Proxy(ResourceTable({message.CLUSTER: on_demand, message.ENDPOINTS: endpoints_of}), ResourceTable(), folder)
    proxy.set_identity(own.svid(own.account("ingress-service-account")), own.bundle)
    built = Blue({"red": red, "green": green}, own, proxy, folder)
    built.admit(*PEERS)
    server = await asyncio.start_server(_serve, SERVICE, 9080)
    async with server, running(proxy):
        await built.wait_listening()
        yield built


async def test_each_peer_gets_what_is_exported_to_it(blue: Blue) -> None:
    """Both peers' first calls, made at once, are answered at once: neither waits for the other."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(blue.ask(peer, exported(peer))) for peer in PEERS]
    assert [answer.result().endswith(b"five") for answer in asked] == [True, True]
    await blue.gateway.wait_for('"kind":"connection"', times=2)
    entries = [line for line in blue.gateway.access_log() if line["kind"] == "connection"]
    assert {line["peer"]: line["client"] for line in entries} == {
        f"{peer}-mesh": str(blue.account(peer)) for peer in PEERS
    }


@pytest.mark.parametrize(("caller", "other"), [PEERS, PEERS[::-1]])
async def test_no_peer_gets_what_is_exported_to_the_other(blue: Blue, caller: str, other: str) -> None:
    """A server name of the other peer's exports gets no byte, whether that peer has called it already or not."""
    assert await blue.ask(caller, exported(other)) == b""
    assert (await blue.ask(other, exported(other))).endswith(b"five")
    assert await blue.ask(caller, exported(other)) == b""
    assert await blue.ask(caller, exported(other).removeprefix("outbound_.9080_._.")) == b""


@pytest.mark.parametrize(("caller", "other"), [PEERS, PEERS[::-1]])
async def test_each_peer_gets_its_own_discovery(blue: Blue, caller: str, other: str) -> None:
    """The path that the pilot is asked has the caller's name, whatever the caller writes into path or headers."""
    forged = {"x_forwarded_client_cert": f"URI={blue.account(other)}"}
    async with await echo_pilot(blue.own, blue.folder):
        for what, slash in (("watch", ""), ("services", "/"), ("peer", ""), ("trustbundle", "")):
            answer = await discover(blue.client(caller), INGRESS, f"/v1/{what}{slash}", **forged)
            assert answer == (200, f"/v1/{what}/{caller}-mesh")
            assert (await discover(blue.client(caller), INGRESS, f"/v1/{what}/{other}-mesh", **forged))[0] == 404


async def test_no_other_identity_gets_in(blue: Blue) -> None:
    """Another account under the roots of a peer is refused at both ports."""
    stranger = client_context(blue.meshes["red"], "default", blue.folder)
    assert (await discover(stranger, INGRESS, "/v1/watch"))[0] == 403
    for peer in PEERS:
        assert await request(INGRESS, 15443, context=stranger, sni=exported(peer)) == b""


@pytest.mark.parametrize("was_called", [True, False], ids=["called before", "never called"])
async def test_a_peer_is_added_while_another_is_served(blue: Blue, was_called: bool) -> None:
    """A peer that comes later is served as soon as the gateway knows it, and the other goes on being served."""
    blue.admit("green")
    async with asyncio.timeout(5):
        while (await discover(blue.client("red"), INGRESS, "/v1/nothing"))[0] == 404:
            await asyncio.sleep(0.02)
    if was_called:
        assert (await blue.ask("green", exported("green"))).endswith(b"five")
    blue.admit("green", "red")
    async with asyncio.timeout(5):
        while (await discover(blue.client("red"), INGRESS, "/v1/nothing"))[0] != 404:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(8), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(blue.ask(peer, exported(peer))) for peer in ("green", "red")]
    assert [answer.result().endswith(b"five") for answer in asked] == [True, True]
