"""Several addresses of a peer, in real Envoys: all are used, and those that do not answer cost little.

They are relays to the peer's ingress gateway at another port, as NodePorts are.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.black_hole import black_hole
from tests.envoy.test_data_path import (
    EGRESS,
    INGRESS,
    Federation,
    client_context,
    discover,
    echo_pilot,
    federation,
    request,
    right_headers,
    wait_served,
)

from isthmus.federation.plan import Endpoint, RemotePeer

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
__all__ = ["federation"]
GOOD, BAD, WORSE = "127.77.0.11", "127.77.0.12", "127.77.0.13"
SERVICES, DISCOVERY = 31443, 31188


@dataclass
class Relay:
    """An address of the peer, and how often it was called."""

    calls: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        task = asyncio.get_running_loop().create_task(_relay(reader, writer))
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def close(self) -> None:
        """Cut what is open."""
        for each in list(self.open):
            each.cancel()
        if self.open:
            await asyncio.wait(list(self.open))


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = 15443 if writer.get_extra_info("sockname")[1] == SERVICES else 8188
    try:
        upstream_reader, upstream_writer = await asyncio.open_connection(INGRESS, port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, upstream_writer))
                tasks.create_task(_copy(upstream_reader, writer))
        finally:
            upstream_writer.transport.abort()
    except OSError:
        return
    finally:
        writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relay(host: str) -> AsyncIterator[Relay]:
    built = Relay()
    async with (
        await asyncio.start_server(built.accept, host, SERVICES),
        await asyncio.start_server(built.accept, host, DISCOVERY),
    ):
        yield built
        await built.close()


def at(federation: Federation, *hosts: str) -> RemotePeer:
    """The peer, at these addresses."""
    return replace(
        federation.peer(),
        services=tuple(Endpoint(host, SERVICES) for host in hosts),
        discovery=tuple(Endpoint(host, DISCOVERY) for host in hosts),
    )


async def timed(port: int = 20001) -> tuple[bytes, float]:
    start = asyncio.get_running_loop().time()
    answer = await request(EGRESS, port)
    return answer, asyncio.get_running_loop().time() - start


async def test_all_addresses_are_used(federation: Federation) -> None:
    """Each address of a peer gets its share of the calls."""
    async with relay(GOOD) as good, relay(BAD) as other:
        federation.connect(at(federation, GOOD, BAD))
        await wait_served()
        for _ in range(10):
            assert (await request(EGRESS, 20001)).endswith(b"five")
        assert good.calls
        assert other.calls


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "black hole"])
async def test_a_dead_address_takes_no_calls(federation: Federation, is_silent: bool) -> None:
    """Each call is answered whatever the other addresses do: the first that meets a dead one goes on to the next, and
    from then on it is left out, though two of three are dead; when one lives again, it gets calls again."""
    holes = contextlib.ExitStack()
    for host in (BAD, WORSE) if is_silent else ():
        holes.enter_context(black_hole(host, SERVICES))
    async with relay(GOOD):
        federation.connect(at(federation, GOOD, BAD, WORSE))
        await wait_served(EGRESS, 20001)
        with holes:
            found = [await timed() for _ in range(12)]
            assert all(answer.endswith(b"five") for answer, _ in found)
            assert max(took for _, took in found[-6:]) < 1.8  # less than one attempt at a black hole
        async with relay(BAD) as healed, asyncio.timeout(45):
            while not healed.calls:
                assert (await request(EGRESS, 20001)).endswith(b"five")
                await asyncio.sleep(0.2)


async def test_when_all_were_dead_the_first_that_lives_is_called(federation: Federation) -> None:
    """Addresses that are all left out are all tried, so the peer is reached as soon as any of them is back."""
    federation.connect(at(federation, GOOD, BAD))
    for _ in range(4):
        assert await request(EGRESS, 20001) == b""
    async with relay(BAD), asyncio.timeout(3):
        while not (await request(EGRESS, 20001)).endswith(b"five"):
            await asyncio.sleep(0.1)


async def test_discovery_goes_by_addresses_that_live(federation: Federation, folder: Path) -> None:
    """Discovery calls are answered while one of three addresses lives."""
    await wait_served()
    pilot = client_context(federation.red, "istiod", folder)
    peer = at(federation, BAD, GOOD, WORSE)
    headers = {**right_headers(federation), "isthmus_peer_version": peer.version}
    async with relay(GOOD), await echo_pilot(federation.green, folder):
        federation.connect(peer)
        async with asyncio.timeout(10):
            while (await discover(pilot, EGRESS, "/v1/watch", **headers))[0] == 404:
                await asyncio.sleep(0.05)
        statuses = [(await discover(pilot, EGRESS, "/v1/watch", **headers))[0] for _ in range(6)]
        assert statuses == [200] * 6
