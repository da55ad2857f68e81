"""What is open through an import when the import goes, in real Envoys: it is closed, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.envoy.test_data_path import EGRESS, EXPORTED, PILOT, Federation, federation, resources, wait_served

from isthmus.envoy import cluster, egress, message
from isthmus.federation.plan import ControlPlane, EgressPlan, ImportedPort

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
__all__ = ["federation"]
FIRST, SECOND, OF_MANY = 16000, 16001, 16512
"""Two ports of one listener with a chain each, and one of a listener whose ports share a chain."""


def serve(federation: Federation, *ports: int, trusted_as: str = "") -> None:
    """Red imports ``ratings`` by just these gateway ports."""
    servers = (federation.green.account("ingress-service-account"),)
    imported = {
        port: ImportedPort(port, "green-mesh", EXPORTED, 9080, servers, trusted_as if port == FIRST else "")
        for port in ports
    }
    plan = EgressPlan(ControlPlane(PILOT, federation.red.account("istiod")), (federation.peer(),), imported)
    table = federation.egress.table
    built = [
        cluster.discovery(federation.peer()),
        *(cluster.imported(each, plan.peers[0]) for each in imported.values()),
    ]
    table.replace(message.CLUSTER, resources(built))
    table.replace(message.LISTENER, resources(egress.listeners(plan, EGRESS)))


@asynccontextmanager
async def silent(port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A connection through an import, on which the service waits for more."""
    reader, writer = await asyncio.open_connection(EGRESS, port)
    writer.write(b"GET /ratings/1 ")
    yield reader
    writer.close()


async def is_open(reader: asyncio.StreamReader, for_s: float) -> bool:
    """Whether it stays so for that long."""
    try:
        async with asyncio.timeout(for_s):
            return await reader.read(1) != b""
    except TimeoutError:
        return True


async def wait_closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(3):
        assert await reader.read() == b""


async def test_an_import_that_goes_takes_its_connections_along(federation: Federation) -> None:
    """What is open through it ends within seconds; what is open through its neighbour does not."""
    serve(federation, FIRST, SECOND, OF_MANY)
    for port in (FIRST, SECOND, OF_MANY):
        assert (await wait_served(port=port)).endswith(b"five")
    async with silent(FIRST) as first, silent(SECOND) as second, silent(OF_MANY) as of_many:
        serve(federation, SECOND, OF_MANY)
        await wait_closed(first)
        assert await is_open(second, 0.5)
        assert await is_open(of_many, 0.1)
    assert federation.egress.rejections == []


async def test_imports_that_come_leave_connections_alone(federation: Federation) -> None:
    """A new import beside it, or another that goes, cuts nothing; and the new one is served at once."""
    serve(federation, FIRST)
    await wait_served(port=FIRST)
    async with silent(FIRST) as first:
        serve(federation, FIRST, SECOND)
        assert (await wait_served(port=SECOND)).endswith(b"five")
        serve(federation, FIRST)
        assert await is_open(first, 2)
    assert (await wait_served(port=FIRST)).endswith(b"five")


async def test_connections_end_with_the_trust_in_the_peer(federation: Federation) -> None:
    """When a root of the peer was taken away, what is open to it is closed by the calling mesh too."""
    serve(federation, FIRST, SECOND)
    for port in (FIRST, SECOND):
        await wait_served(port=port)
    async with silent(FIRST) as first, silent(SECOND) as second:
        serve(federation, FIRST, SECOND, trusted_as="another")
        await wait_closed(first)
        assert await is_open(second, 0.5)
    assert (await wait_served(port=FIRST)).endswith(b"five")
