"""Serve: the names of imports over DNS, UDP and TCP.

Answers for the domains that imports have (``<name>.<namespace>.svc.<peer>-imports.local`` and the like) with the
address of the import's Service; the cluster's DNS forwards these domains here. Nothing else is resolved: this is no
way out. Source: RFC 1035; docs/architecture.md, "How workloads reach what is imported".
"""

import asyncio
from collections import Counter
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import structlog
from lightkube.resources.core_v1 import Service

from isthmus.kube import Change
from isthmus.pilot.objects import hostname_of, import_names

log = structlog.get_logger(__name__)

TTL_S: Final = 5
MAX_TCP_CLIENTS: Final = 100
TCP_IDLE_S: Final = 10.0


class ImportNames:
    """The addresses of imports by name, kept up to date with their Services."""

    def __init__(self) -> None:
        self._addresses: dict[dns.name.Name, str] = {}
        self._domains: Counter[dns.name.Name] = Counter()

    def service_changed(self, change: Change[Service]) -> None:
        """Subscriber of the store of Services."""
        before, after = _entry(change.old), _entry(change.new)
        if before == after:
            return
        if before is not None and self._addresses.get(before[0]) == before[1]:
            del self._addresses[before[0]]
            self._domains.subtract(_domains(before[0]))
        if after is not None and after[0] not in self._addresses:
            self._domains.update(_domains(after[0]))
        if after is not None:
            self._addresses[after[0]] = after[1]

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to one query; None for what is no query at all."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        response = dns.message.make_response(query)
        self._fill(response, query.question[0])
        return response.to_wire()

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset) -> None:
        name = question.name.canonicalize()
        address = self._addresses.get(name)
        if address is None and not self._domains[name]:
            within = any(self._domains[parent] for parent in _domains(name))
            response.set_rcode(dns.rcode.NXDOMAIN if within else dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        wanted = "AAAA" if address is not None and ":" in address else "A"
        if address is not None and question.rdtype == dns.rdatatype.from_text(wanted):
            response.answer.append(
                dns.rrset.from_text(question.name, TTL_S, dns.rdataclass.IN, question.rdtype, address)
            )


class NamesServer:
    """Serves ``names`` at one address until cancelled."""

    def __init__(self, names: ImportNames, *, host: str, port: int) -> None:
        self._names = names
        self._host = host
        self._port = port
        self._clients = asyncio.Semaphore(MAX_TCP_CLIENTS)

    async def run(self, started: "asyncio.Future[None]") -> None:
        """Serve until cancelled. Raises OSError: the address cannot be listened on; ``started`` fails with it too."""
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._names), local_addr=(self._host, self._port)
            )
            server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            started.set_exception(error)
            raise
        started.set_result(None)
        try:
            await asyncio.Event().wait()
        finally:
            transport.close()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._clients, asyncio.timeout(TCP_IDLE_S):
                while length := int.from_bytes(await reader.readexactly(2), "big"):
                    answer = self._names.answer(await reader.readexactly(length))
                    if answer is None:
                        return
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, names: ImportNames) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's datagram transport is one in all but its base class.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._names.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _entry(service: Service | None) -> tuple[dns.name.Name, str] | None:
    if service is None or not import_names(service) or service.spec is None:
        return None
    hostname, address = hostname_of(service), service.spec.clusterIP
    if not hostname or not address or address == "None":
        return None
    return dns.name.from_text(hostname).canonicalize(), address


def _domains(name: dns.name.Name) -> list[dns.name.Name]:
    """The domains above a name, from the nearest to the one below the top: those that are ours to answer for."""
    return [dns.name.Name(name.labels[start:]) for start in range(1, max(1, len(name.labels) - 2))]
