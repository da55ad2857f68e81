"""Carries out orders in a gateway pod: every address of a peer at once, or one request through the pod's own Envoy."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from isthmus.federation.findings import Attempt, Fault, ProbeReport, RequestReport
from isthmus.probe.attempt import Call, since_ms
from isthmus.probe.channel import Plain, connected
from isthmus.probe.faults import fault_of_connect, fault_of_tls, in_words
from isthmus.probe.http import Exchange, NoAnswerError, NotHttpError
from isthmus.probe.orders import ExpectedServer, ProbeOrder, RequestOrder
from isthmus.probe.resolver import NotResolvedError, Resolver

ALPN: Final = ("istio", "http/1.1")
"""What the gateway's Envoy offers a peer."""
MAX_ATTEMPTS: Final = 32
"""Endpoints that one order leads to, whatever its names resolve to."""
OPEN_FOR_S: Final = 10.0
"""One that leads nowhere is closed by then: an Envoy waits a second for a cluster that it does not know, and then tries
to connect to the peer as often and as long as it may (``envoy.egress``, ``envoy.cluster``)."""
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How a client of HTTP/2 begins: the preface and a SETTINGS frame without any (RFC 9113 §3.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPod:
    """Who tries."""

    name: str
    address: str
    resolver: Resolver
    context: Callable[[], ssl.SSLContext]
    """Our certificate of the moment, verifying nothing (``mutual_tls.unverifying_context``)."""


class Prober:
    """What the agent can be told to do."""

    def __init__(self, pod: OwnPod, *, open_for_s: float = OPEN_FOR_S) -> None:
        """``open_for_s``: how long a connection on which nothing comes must stay open to count."""
        self._pod = pod
        self._open_for_s = open_for_s

    async def probe(self, order: ProbeOrder) -> ProbeReport:
        """Try every address; raises BadOrderError: the order does not say who must answer."""
        expected = order.expected()
        async with asyncio.TaskGroup() as tasks:
            resolving = [tasks.create_task(self._resolve(order, address)) for address in order.addresses]
        lost = [one for task in resolving for one in task.result() if isinstance(one, Attempt)]
        found = [one for task in resolving for one in task.result() if isinstance(one, _Found)]
        calls = await self._call(order, expected, found[:MAX_ATTEMPTS])
        offsets = [call.clock_offset_s for call in calls if call.clock_offset_s is not None]
        return ProbeReport(
            pod=self._pod.name,
            at=datetime.now(UTC),
            attempts=(*lost, *(call.attempt for call in calls)),
            clock_offset_s=min(offsets, key=abs) if offsets else None,
        )

    async def request(self, order: RequestOrder) -> RequestReport:
        """Call an imported port of this pod's Envoy."""
        began = time.perf_counter()
        fault, detail, status = await self._through_envoy(order)
        return RequestReport(
            pod=self._pod.name,
            at=datetime.now(UTC),
            fault=fault,
            detail=detail,
            status=status,
            duration_ms=since_ms(began),
        )

    async def _resolve(self, order: ProbeOrder, address: str) -> "Sequence[_Found | Attempt]":
        began = time.perf_counter()
        try:
            hosts = await self._pod.resolver.resolve(address, timeout_s=order.timeout_s)
        except NotResolvedError as error:
            return [Attempt(address=address, port=order.port, fault=Fault.NOT_RESOLVED, detail=str(error))]
        return [_Found(address, host, since_ms(began)) for host in hosts]

    async def _call(self, order: ProbeOrder, expected: ExpectedServer, found: "Sequence[_Found]") -> list[Call]:
        context, calls = self._pod.context(), []
        async with asyncio.TaskGroup() as tasks:
            for one in found:
                call = Call(order, expected, address=one.address, host=one.host)
                left_s = max(0.1, order.timeout_s - one.resolve_ms / 1000)
                running = call.run(context, source=self._pod.address, timeout_s=left_s, resolve_ms=one.resolve_ms)
                tasks.create_task(running, name=f"probe {one.host}")
                calls.append(call)
        return calls

    async def _through_envoy(self, order: RequestOrder) -> tuple[Fault | None, str, int]:
        try:
            async with (
                asyncio.timeout(order.timeout_s),
                connected(self._pod.address, order.gateway_port, source=self._pod.address) as connection,
            ):
                return await self._talk(Plain(connection), order)
        except TimeoutError:
            return Fault.TIMED_OUT, f"no answer within {order.timeout_s:g} s", 0
        except OSError as error:
            return fault_of_connect(error), in_words(error), 0

    async def _talk(self, channel: Plain, order: RequestOrder) -> tuple[Fault | None, str, int]:
        match order.protocol.upper():
            case "HTTP":
                return await _talk_http(channel, order.host)
            case "HTTP2" | "GRPC":
                await channel.send(_HTTP2_PREFACE)
                return await _listen(channel, open_for_s=None)
            case _:
                return await _listen(channel, open_for_s=self._open_for_s)


@dataclass(frozen=True, slots=True)
class _Found:
    """An address that has become an IP address."""

    address: str
    host: str
    resolve_ms: float


async def _talk_http(channel: Plain, host: str) -> tuple[Fault | None, str, int]:
    """Any answer in HTTP proves that somebody at the far end has understood."""
    try:
        head = await Exchange(channel).ask("GET", "/", host=host)
    except NoAnswerError:
        return Fault.CLOSED, "the connection was closed in place of an answer", 0
    except NotHttpError as error:
        return Fault.PROTOCOL, f"not HTTP: {error}", 0
    except ConnectionError as error:
        return fault_of_tls(error, b""), in_words(error), 0
    return None, head.status_line, head.status


async def _listen(channel: Plain, *, open_for_s: float | None) -> tuple[Fault | None, str, int]:
    """Any byte is proof enough; of a server that may wait for its client, that it stays open for long enough."""
    try:
        async with asyncio.timeout(open_for_s) as waiting:
            received = await channel.receive()
    except TimeoutError:
        if open_for_s is None or not waiting.expired():
            raise
        return None, f"the connection stayed open for {open_for_s:g} s", 0
    except ConnectionError as error:
        return fault_of_tls(error, b""), in_words(error), 0
    return (None, f"{len(received)} bytes came", 0) if received else (Fault.CLOSED, "the connection was closed", 0)
