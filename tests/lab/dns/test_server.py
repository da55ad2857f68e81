"""The name server on its sockets, before a real API server: what it makes of odd questions."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.lab.apiserver.clients import running
from tests.waiting import until

from isthmus.lab.apiserver import Settings
from isthmus.lab.client import Informers
from isthmus.lab.dns import DnsServer, DnsSettings
from isthmus.lab.dns.stale import STALE_TTL_S
from isthmus.lab.dns.stubs import Upstream

HOST = "127.15.1.1"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(folder: Path, *others: tuple[str, Upstream]) -> AsyncIterator[tuple[AsyncClient, Informers, int]]:
    """A name server over an API server; its port."""
    async with running(Settings(data_dir=folder, service_cidr="127.15.2.0/24")) as api:
        path = folder / "kubeconfig"
        await asyncio.to_thread(api.kubeconfig().write, path)
        client = AsyncClient(KubeConfig.from_file(path), trust_env=False)
        informers = Informers(client)
        port = free_port()
        settings = DnsSettings(address=HOST, port=port, apps_domain="apps.red.test", other_zones=lambda: others)
        server = DnsServer(informers, settings)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(informers.run()), group.create_task(server.run(started))]
            await started
            await informers.wait_synced()
            try:
                yield client, informers, port
            finally:
                for task in tasks:
                    task.cancel()
        await client.close()


async def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    query = dns.message.make_query(name, kind)
    return await send(query, HOST, timeout=5, port=port)


async def create_endpoints(client: AsyncClient, informers: Informers, count: int) -> None:
    """A headless Service with so many endpoints."""
    spec = ServiceSpec(clusterIP="None", ports=[ServicePort(name="http", port=80)])
    await client.create(Service(metadata=ObjectMeta(name="many", namespace="default"), spec=spec))
    labels = {"kubernetes.io/service-name": "many"}
    piece = EndpointSlice(
        metadata=ObjectMeta(name="many-1", namespace="default", labels=labels),
        addressType="IPv4",
        endpoints=[Endpoint(addresses=[f"127.15.3.{number}"]) for number in range(1, count + 1)],
        ports=[],
    )
    await client.create(piece)
    await until(lambda: len(informers.of(EndpointSlice)) and len(informers.of(Service)) > 0)


async def test_a_long_answer_is_cut_and_had_by_tcp(tmp_path: Path) -> None:
    """What does not fit into a datagram is marked as cut; by TCP all of it comes."""
    async with serving(tmp_path) as (client, informers, port):
        await create_endpoints(client, informers, 200)
        await until(lambda: any(len(piece.endpoints or []) == 200 for piece in informers.of(EndpointSlice)))
        name = "many.default.svc.cluster.local"
        cut = await ask(port, name)
        whole = await ask(port, name, tcp=True)
    assert cut.flags & dns.flags.TC
    assert not cut.answer
    assert len(whole.answer[0]) == 200


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 12, b"\xff" * 600, b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"])
async def test_nonsense_is_not_answered(tmp_path: Path, data: bytes) -> None:
    """A datagram that is no question changes nothing, and the next question is answered."""
    async with serving(tmp_path) as (_, _, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, (HOST, port))
        assert (await ask(port, "nope.svc.cluster.local")).rcode() == dns.rcode.NXDOMAIN


async def test_an_upstream_that_is_down(tmp_path: Path) -> None:
    """The zone of another cluster that does not answer fails, and does not hang; it is not said not to exist."""
    async with serving(tmp_path, ("apps.green.test", Upstream("127.15.1.2", 9))) as (_, _, port):
        answer = await ask(port, "x.y.apps.green.test")
    assert answer.rcode() == dns.rcode.SERVFAIL


class Zone(asyncio.DatagramProtocol):
    """A name server that knows one address for everything, or has only a code to say, or (None) says nothing."""

    def __init__(self) -> None:
        self.code: dns.rcode.Rcode | None = dns.rcode.NOERROR
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if self.code is None:
            return
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.set_rcode(self.code)
        if self.code == dns.rcode.NOERROR:
            response.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "127.15.9.9"))
        self._transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def zone() -> AsyncIterator[tuple[Zone, Upstream]]:
    """A server for another zone, and where it is."""
    loop = asyncio.get_running_loop()
    transport, served = await loop.create_datagram_endpoint(Zone, local_addr=(HOST, 0))
    try:
        yield served, Upstream(HOST, transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def test_a_name_outlives_the_server_that_knows_it(tmp_path: Path) -> None:
    """While the server of a zone does not answer, what it said last is told again, with a short time to live."""
    async with zone() as (green, upstream), serving(tmp_path, ("apps.green.test", upstream)) as (_, _, port):
        fresh = await ask(port, "x.y.apps.green.test")
        green.code = None
        stale = await ask(port, "X.y.apps.green.test")
    assert [answer.answer[0][0].to_text() for answer in (fresh, stale)] == ["127.15.9.9"] * 2
    assert (fresh.answer[0].ttl, stale.answer[0].ttl) == (300, STALE_TTL_S)


async def test_who_asks_the_same_within_a_second_has_the_same_answer(tmp_path: Path) -> None:
    """The server of the zone is asked once for many, and by TCP anew."""
    async with zone() as (green, upstream), serving(tmp_path, ("apps.green.test", upstream)) as (_, _, port):
        first = await ask(port, "x.y.apps.green.test")
        many = [await ask(port, "x.y.apps.green.test") for _ in range(10)]
        asked = green.asked
        by_tcp = await ask(port, "x.y.apps.green.test", tcp=True)
    assert asked < 5  # once a second, and the machine may be slow
    assert all(answer.answer == first.answer for answer in [*many, by_tcp])
    assert green.asked == asked + 1


async def test_a_name_that_was_taken_back_stays_so(tmp_path: Path) -> None:
    """Once the server has said that a name is not there, no older answer is told again."""
    async with zone() as (green, upstream), serving(tmp_path, ("apps.green.test", upstream)) as (_, _, port):
        await ask(port, "x.y.apps.green.test")
        green.code = dns.rcode.NXDOMAIN
        await ask(port, "X.y.apps.green.test")  # spelt anew, so that it is not answered out of the last second
        green.code = dns.rcode.SERVFAIL
        after = await ask(port, "x.Y.apps.green.test")
    assert after.rcode() == dns.rcode.SERVFAIL
