"""Serve: the names of imports over DNS, UDP and TCP.

Answers for the domains that imports have (``<name>.<namespace>.svc.<peer>-imports.local`` and the like) with the
address of the import's Service; the cluster's DNS forwards these domains here. Nothing else is resolved: this is no
way out. Source: RFC 1035; docs/architecture.md, "How workloads reach what is imported".
"""

import asyncio
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
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
    """The addresses of imports by name, kept up to date with their Services.

    Of several imports with one name the first by exported host name and peer is told, on every replica the same.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[_Entry, ...]] = {}
        self._domains: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        """How many queries were answered, by the response code's name."""

    def service_changed(self, change: Change[Service]) -> None:
        """Subscriber of the store of Services."""
        before, after = _entry(change.old), _entry(change.new)
        if before == after:
            return
        if before is not None:
            self._remove(before)
        if after is not None:
            self._put(after)

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to one query; None for what is no query at all."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        response = dns.message.make_response(query)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        else:
            self._fill(response, query.question[0])
        self.answers[dns.rcode.to_text(response.rcode())] += 1
        return response.to_wire()

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset) -> None:
        name = question.name.canonicalize().to_text(omit_final_dot=True)
        address = self._address(name)
        is_ours = question.rdclass in {dns.rdataclass.IN, dns.rdataclass.ANY}
        if not is_ours or (address is None and not self._domains[name]):
            within = is_ours and any(self._domains[parent] for parent in _domains(name))
            response.set_rcode(dns.rcode.NXDOMAIN if within else dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        wanted = "AAAA" if address is not None and ":" in address else "A"
        if address is not None and question.rdtype == dns.rdatatype.from_text(wanted):
            response.answer.append(
                dns.rrset.from_text(question.name, TTL_S, dns.rdataclass.IN, question.rdtype, address)
            )

    def _address(self, name: str) -> str | None:
        entries = self._entries.get(name)
        return min(entries, key=lambda entry: entry.rank).address if entries else None

    def _put(self, entry: "_Entry") -> None:
        if entry.name not in self._entries:
            self._domains.update(_domains(entry.name))
        self._entries[entry.name] = (*self._entries.get(entry.name, ()), entry)

    def _remove(self, entry: "_Entry") -> None:
        others = tuple(each for each in self._entries.pop(entry.name) if each != entry)
        if others:
            self._entries[entry.name] = others
        else:
            self._domains -= Counter(_domains(entry.name))


class NamesServer:
    """Serves ``names`` at one address until cancelled."""

    def __init__(self, names: ImportNames, *, host: str, port: int) -> None:
        self._names = names
        self._host = host
        self._port = port
        self._clients = 0

    async def run(self, started: "asyncio.Future[None]") -> None:
        """Serve until cancelled. Raises OSError: the address cannot be listened on; ``started`` fails with it too."""
        try:
            server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            started.set_exception(error)
            raise
        async with server:
            await self._run_datagrams(started)

    async def _run_datagrams(self, started: "asyncio.Future[None]") -> None:
        loop = asyncio.get_running_loop()
        try:
            bound = _datagram_socket(self._host, self._port)
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._names), sock=bound)
        except OSError as error:
            started.set_exception(error)
            raise
        started.set_result(None)
        try:
            await asyncio.Event().wait()
        finally:
            transport.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client's queries in their order (RFC 7766); it comes back if there are too many at present."""
        self._clients += 1
        try:
            while self._clients <= MAX_TCP_CLIENTS and await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            return  # it has gone, or has nothing to say: there is nobody to tell
        finally:
            self._clients -= 1
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(TCP_IDLE_S):
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = self._names.answer(await reader.readexactly(length))
            if answer is not None:
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        return answer is not None


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


def _datagram_socket(host: str, port: int) -> socket.socket:
    """Bound here, since uvloop leaves its transport open when it cannot bind one. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


@dataclass(frozen=True, slots=True)
class _Entry:
    """The name of an import, and its Service's address."""

    name: str
    """In lower case, without a dot at its end."""
    address: str
    rank: tuple[str, str, str, str]
    """Exported host name, peer, and namespace and name of the Service: the least of one name is told."""


def _entry(service: Service | None) -> _Entry | None:
    """The name that we answer for, if the Service has one; names of the cluster's own domain are not ours."""
    if service is None or not import_names(service) or service.spec is None or service.metadata is None:
        return None
    hostname, address = hostname_of(service), service.spec.clusterIP
    is_local = hostname.startswith(f"{service.metadata.name}.{service.metadata.namespace}.")
    if is_local or not hostname or not address or address == "None":
        return None
    try:
        (peer, exported), *_ = import_names(service)
        rank = (exported, peer, service.metadata.namespace or "", service.metadata.name or "")
        name = dns.name.from_text(hostname).canonicalize().to_text(omit_final_dot=True)
        return _Entry(sys.intern(name), address, rank)
    except dns.exception.DNSException as error:
        peers = ", ".join(peer for peer, _ in import_names(service))
        log.warning("import has no name", peer=peers, hostname=hostname[:300], reason=str(error))
        return None


def _domains(name: str) -> list[str]:
    """The domains above a name, from the nearest to the one below the top: those that are ours to answer for."""
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(1, max(1, len(labels) - 1))]
