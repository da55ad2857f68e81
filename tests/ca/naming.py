"""A DNS server that knows one name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.message
import dns.rdatatype
import dns.rrset


class OneName(asyncio.DatagramProtocol):
    """Answers for one name with one IPv4 address, and for all others with nothing."""

    def __init__(self, name: str, address: str) -> None:
        self.name = f"{name}."
        self.address = address
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        (question,) = query.question
        if question.rdtype == dns.rdatatype.A and question.name.to_text() == self.name:
            response.answer.append(dns.rrset.from_text(question.name, 5, "IN", "A", self.address))
        assert self.transport is not None
        self.transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def one_name(name: str, address: str, *, server: str) -> AsyncIterator[str]:
    """Serve on the address ``server``; gives ``<address>:<port>``."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: OneName(name, address), local_addr=(server, 0))
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()
