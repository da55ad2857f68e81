"""Names resolved by a DNS server of the gateway's own, over real UDP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from isthmus.probe.resolver import MAX_HOSTS, NotResolvedError, Resolver

HOST = "127.83.0.53"
ZONE = {
    ("two.example.", "A"): ["127.0.0.2", "127.0.0.1"],
    ("six.example.", "AAAA"): ["::1"],
    ("many.example.", "A"): [f"127.0.1.{number}" for number in range(20)],
}


class _Zone(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name, kind = query.question[0].name.to_text(), query.question[0].rdtype.name
        if name == "silent.example.":
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if records := ZONE.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
        elif not any(name == known for known, _ in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Resolver]:
    """A resolver that asks a server of the zone."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Zone, local_addr=(HOST, 0))
    try:
        yield Resolver((HOST, transport.get_extra_info("sockname")[1]))
    finally:
        transport.close()


async def test_names_become_addresses() -> None:
    """All addresses of a name in order, IPv6 where there is no other, at most as many as are tried."""
    async with serving() as resolver:
        assert await resolver.resolve("two.example", timeout_s=2) == ("127.0.0.1", "127.0.0.2")
        assert await resolver.resolve("six.example", timeout_s=2) == ("::1",)
        assert len(await resolver.resolve("many.example", timeout_s=2)) == MAX_HOSTS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.example", "does not exist"),
        ("silent.example", "lifetime expired"),
        ("a..b", "empty"),
        ("x" * 64 + ".example", "label"),
    ],
)
async def test_names_that_do_not_resolve(name: str, said: str) -> None:
    """Each says in a line what the resolver met."""
    async with serving() as resolver:
        with pytest.raises(NotResolvedError, match=said):
            await resolver.resolve(name, timeout_s=0.5)


async def test_a_server_that_is_not_there() -> None:
    """Nobody answers at the address of the DNS server."""
    with pytest.raises(NotResolvedError):
        await Resolver((HOST, 9)).resolve("two.example", timeout_s=0.5)


@pytest.mark.parametrize("address", ["127.0.0.7", "::1"])
async def test_an_address_is_its_own(address: str) -> None:
    """Nobody is asked."""
    assert await Resolver((HOST, 9)).resolve(address, timeout_s=0.1) == (address,)


async def test_the_machines_own_configuration() -> None:
    """Without a server, names are resolved as by any program of the machine."""
    assert await Resolver().resolve("localhost", timeout_s=2) == ("127.0.0.1",)
    with pytest.raises(NotResolvedError):
        await Resolver().resolve("no-such-name.invalid", timeout_s=2)
