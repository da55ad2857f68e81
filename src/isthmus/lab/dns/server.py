"""The name server of a cluster: UDP and TCP on one port, answering from the informers and forwarding stub zones.

A server of a stub zone that does not answer takes no name away: what it said last is told again (RFC 8767). What it
said within the last second is told again without asking it (:mod:`isthmus.lab.dns.recent`).
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import structlog
from lightkube.resources.core_v1 import ConfigMap, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import Index, Informers, ObjectKey
from isthmus.lab.dns.answer import Verdict, acceptable, answer, plain, refusal, verdict, within
from isthmus.lab.dns.recent import RecentAnswers
from isthmus.lab.dns.records import Directory, Records
from isthmus.lab.dns.stale import LastAnswers
from isthmus.lab.dns.stubs import Upstream, locate, named_service, parse_stubs, stub_for
from isthmus.lab.proxy.forwarding import owner_of

log = structlog.get_logger()

STUBS = ObjectKey("kube-system", "kube-dns")
UPSTREAM_S = 2.0
STALE_AFTER_S = 0.4
"""How long all servers of a zone together may take when an old answer is at hand: clients give up soon after."""
IDLE_S = 10.0
MOST_AT_ONCE = 512
SAFE_UDP_BYTES, MOST_UDP_BYTES = 512, 4096


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Where to listen, the zone of this cluster's load balancers, and how to learn of other labs' zones."""

    address: str
    port: int
    apps_domain: str
    other_zones: Callable[[], Iterable[tuple[str, Upstream]]]


class DnsServer:
    """Answers for one cluster."""

    def __init__(self, informers: Informers, settings: DnsSettings) -> None:
        self._settings = settings
        self._services = informers.of(Service)
        self._slices = informers.of(EndpointSlice)
        self._maps = informers.of(ConfigMap)
        self._pieces = Index(self._slices, owner_of)
        self._directory = Directory(apps_domain=settings.apps_domain)
        self._changed: set[ObjectKey] = set()
        self._stubs: dict[str, tuple[Upstream, ...]] = {}
        self._last_answers = LastAnswers()
        self._recent_answers = RecentAnswers()
        self._at_once = 0
        self._group: asyncio.TaskGroup | None = None
        self._services.subscribe(lambda key, _old, _new: self._changed.add(key))
        self._slices.subscribe(lambda _key, old, new: self._slice_changed(old, new))
        self._maps.subscribe(lambda key, _old, new: self._stubs_changed(new) if key == STUBS else None)

    async def run(self, started: asyncio.Future[None]) -> None:
        """Serve until cancelled; ``started`` is done when the sockets listen. Raises OSError if they can't."""
        loop = asyncio.get_running_loop()
        where = (self._settings.address, self._settings.port)
        async with asyncio.TaskGroup() as group:
            self._group = group
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=where)
            try:
                server = await asyncio.start_server(self._stream, *where)
                started.set_result(None)
                try:
                    await asyncio.Event().wait()
                finally:
                    server.close()  # without waiting for clients that keep their connection
            finally:
                transport.close()

    def _slice_changed(self, *versions: EndpointSlice | None) -> None:
        owners = [owner_of(piece) for piece in versions if piece is not None]
        self._changed.update(owner for owner in owners if owner is not None)

    def _stubs_changed(self, config: ConfigMap | None) -> None:
        text = (config.data or {}).get("stubDomains", "{}") if config is not None else "{}"
        try:
            self._stubs = parse_stubs(text)
        except (ValueError, RecursionError) as error:  # what was valid before stays
            log.info("stub zones not understood", error=str(error))

    def _current(self) -> Records:
        for key in self._changed:
            self._directory.put(key, self._services.get(key), self._pieces.get(key))
        self._changed.clear()
        return self._directory.records

    def datagram(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        """Take in a datagram; too many at once are dropped, and asked again by those who care."""
        if (known := self._recent_answers.answer(data, now=asyncio.get_running_loop().time())) is not None:
            reply(known)
        elif self._group is not None and self._at_once < MOST_AT_ONCE:
            self._group.create_task(self._reply(data, reply), name="dns query")

    async def _reply(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        self._at_once += 1
        try:
            response = await self._respond(data)
            if response is not None:
                reply(_fitting(response, data))
        except Exception:  # the outermost frame of a question: no question may end the server
            log.exception("dns question failed")
        finally:
            self._at_once -= 1

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(IDLE_S):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                response = await self._respond(data)
                if response is None:
                    break
                wire = response.to_wire()
                writer.write(len(wire).to_bytes(2) + wire)
                await writer.drain()
        writer.close()

    async def _respond(self, data: bytes) -> dns.message.Message | None:
        try:
            query = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:  # an answer, not a question
            return None
        if (code := acceptable(query)) != dns.rcode.NOERROR:
            return refusal(query, code)
        return await self._resolve(query)

    async def _resolve(self, query: dns.message.Message) -> dns.message.Message:
        name, found = plain(query.question[0].name), self._current()
        upstreams = self._stub(name)
        if upstreams is not None:
            return await self._forward(query, upstreams)
        if verdict(name, found, apps_domain=self._settings.apps_domain) is Verdict.OURS:
            return answer(query, found, apps_domain=self._settings.apps_domain)
        others = [upstream for zone, upstream in self._settings.other_zones() if within(name, zone)]
        if others:
            return await self._forward(query, tuple(others))
        return refusal(query, dns.rcode.NXDOMAIN)

    def _stub(self, name: str) -> tuple[Upstream, ...] | None:
        """The servers of a name's stub zone; None if it is in none, empty if none of them is there now."""
        wanted = stub_for(name, self._stubs)
        if not wanted:
            return None
        return tuple(place for upstream in wanted for place in self._located(upstream))

    def _located(self, upstream: Upstream) -> tuple[Upstream, ...]:
        key = named_service(upstream)
        service = self._services.get(key) if key is not None else None
        pieces = self._pieces.get(key) if key is not None else []
        return locate(upstream, [] if service is None else [service], pieces)

    async def _forward(self, query: dns.message.Message, upstreams: tuple[Upstream, ...]) -> dns.message.Message:
        now, asked = asyncio.get_running_loop().time(), query.wire or b""
        stale = self._last_answers.answer(query, now=now)
        timeout_s = UPSTREAM_S if stale is None else STALE_AFTER_S / max(1, len(upstreams))
        for upstream in upstreams:
            response = await _ask(query, upstream, timeout_s=timeout_s)
            if response is not None:
                self._last_answers.learn(query, response, now=now)
                self._recent_answers.learn(asked, response, _fitting(response, asked), now=now)
                return response
        return refusal(query, dns.rcode.SERVFAIL) if stale is None else stale


async def _ask(query: dns.message.Message, upstream: Upstream, *, timeout_s: float) -> dns.message.Message | None:
    """What the server says; None if it says nothing, or that it cannot tell."""
    try:
        response, _ = await dns.asyncquery.udp_with_fallback(
            query, upstream.host, timeout=timeout_s, port=upstream.port
        )
    except (dns.exception.DNSException, OSError) as error:
        log.debug("upstream does not answer", upstream=upstream.host, error=repr(error))
        return None
    return None if response.rcode() == dns.rcode.SERVFAIL else response


def _fitting(response: dns.message.Message, query: bytes) -> bytes:
    """The answer in a datagram of the size that the client takes; truncated if it is larger (RFC 2181 §9, RFC 6891)."""
    most = min(max(response.request_payload, SAFE_UDP_BYTES), MOST_UDP_BYTES)
    try:
        return response.to_wire(max_size=most)
    except dns.exception.TooBig:
        short = refusal(dns.message.from_wire(query), response.rcode())
        short.flags |= dns.flags.TC
        return short.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a datagram transport, by the kind of endpoint

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        transport = self._transport
        if transport is not None:
            self._server.datagram(data, lambda wire: transport.sendto(wire, address))
