"""A link that swallows everything: the real control plane and a real discovery server, with a proxy between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.discovery.mesh import GreenLink, behind_gateways
from tests.pilot.red import EGRESS_IP, GREEN, IMPORT_ALL, AnyCaller, Red, peer, red_cluster, service
from tests.waiting import until

from isthmus.discovery import DiscoveryServer, discovery_app
from isthmus.identity import TrustBundle
from isthmus.mutual_tls import server_context
from isthmus.pilot.settings import DISCOVERY_PORT

BEHIND_IP = "127.79.0.21"
HEARTBEAT_S = 0.3
"""Instead of 15 s: three missed ones are noticed in a second rather than in 45."""


class Wire:
    """Forwards connections; while it is cut nothing arrives, and nobody is told."""

    def __init__(self) -> None:
        self.whole = asyncio.Event()
        self.whole.set()

    async def run(self, started: "asyncio.Future[None]") -> None:
        """Forward until cancelled."""
        server = await asyncio.start_server(self._connected, EGRESS_IP, DISCOVERY_PORT)
        started.set_result(None)
        async with server:
            await asyncio.Event().wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(BEHIND_IP, DISCOVERY_PORT)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(reader, there_writer))
                tasks.create_task(self._forward(there_reader, writer))
        finally:
            writer.close()
            there_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while some := await reader.read(65536):
                await self.whole.wait()
                writer.write(some)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def green_behind(red: Red) -> AsyncIterator[Wire]:
    """Green's discovery with a quick heartbeat, behind a wire that can be cut."""
    link = GreenLink(TrustBundle.of(GREEN, red.green.roots), red.feed)
    app = behind_gateways(discovery_app(AnyCaller(link), heartbeat_s=HEARTBEAT_S))
    context = server_context(red.svid("egress-green-mesh-service-account"), client_roots=red.bundle)
    server, wire = DiscoveryServer(app, context, host=BEHIND_IP, port=DISCOVERY_PORT), Wire()
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[int] = loop.create_future()
    forwarding: asyncio.Future[None] = loop.create_future()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(server.run(listening)), tasks.create_task(wire.run(forwarding))]
        await listening
        await forwarding
        try:
            yield wire
        finally:
            wire.whole.set()
            for task in running:
                task.cancel()


@pytest.mark.slow
async def test_a_link_that_swallows_everything_is_noticed_and_heals(tmp_path: Path) -> None:
    """Silence makes the link inactive with its cause; what changed meanwhile is imported within 5 s of its healing."""
    async with red_cluster(tmp_path) as red, green_behind(red) as wire, red.control_plane():
        await red.apply(red.green_root, peer(), IMPORT_ALL)
        await red.wait_services(1)

        async def is_noticed() -> bool:
            entries = (await red.status()).get("discoveryStatus", {}).get("inactive", [])
            return any("no heartbeat" in each["watch"].get("lastDisconnectStatus", "") for each in entries)

        wire.whole.clear()
        red.feed.put(service("details"))
        await until(is_noticed)
        assert len(await red.services()) == 1
        wire.whole.set()
        async with asyncio.timeout(5):
            await red.wait_services(2)
