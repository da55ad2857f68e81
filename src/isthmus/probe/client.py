"""Gives orders to a gateway: to whichever of its pods answers, which must prove that it is that gateway."""

import asyncio
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from isthmus.federation.findings import ProbeReport, RequestReport
from isthmus.federation.plan import Endpoint
from isthmus.identity import InvalidCertificateError, SpiffeId
from isthmus.mutual_tls import peer_identity
from isthmus.probe.channel import Tls, connected
from isthmus.probe.errors import AgentError, BadOrderError
from isthmus.probe.faults import in_words
from isthmus.probe.http import Exchange, NoAnswerError, NotHttpError
from isthmus.probe.orders import (
    MAX_REPORT_BYTES,
    PROBE_PATH,
    REQUEST_PATH,
    ProbeOrder,
    RequestOrder,
    parse_report,
)

MARGIN_S: Final = 2.0
"""For the way to the agent and back, beside what the order itself may take."""

_R = TypeVar("_R", ProbeReport, RequestReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAgent:
    """A gateway of our own mesh, as who asks its agents sees it."""

    name: str
    identities: Collection[SpiffeId]
    """Who may answer: the gateway's service account, in each trust domain of the mesh."""
    endpoints: Callable[[], Sequence[Endpoint]]
    """Where its agents are now; asked at each order."""
    context: Callable[[], ssl.SSLContext]
    """Our certificate and roots (``mutual_tls.client_context``); asked at each order."""
    local_address: str
    """The address to call from."""


class ProbeClient:
    """The agents of one gateway."""

    def __init__(self, gateway: GatewayAgent) -> None:
        self._gateway = gateway

    async def probe(self, order: ProbeOrder) -> ProbeReport:
        """Have a pod of the gateway try the way to a peer; raises AgentError: no pod could be asked."""
        return await self._ask_any(PROBE_PATH, order, ProbeReport)

    async def request(self, order: RequestOrder) -> RequestReport:
        """Have a pod of the gateway call an imported port; raises AgentError: no pod could be asked."""
        return await self._ask_any(REQUEST_PATH, order, RequestReport)

    async def _ask_any(self, path: str, order: ProbeOrder | RequestOrder, kind: type[_R]) -> _R:
        """The first pod that answers; those that do not are not told apart from those that are gone."""
        failures = []
        for endpoint in sorted(self._gateway.endpoints()):
            try:
                async with asyncio.timeout(order.timeout_s + MARGIN_S):
                    return await self._ask(endpoint, path, msgspec.json.encode(order), kind)
            except TimeoutError:
                failures.append(f"{endpoint.host}: no answer within {order.timeout_s + MARGIN_S:g} s")
            except AgentError as error:
                failures.append(f"{endpoint.host}: {error}")
        name = self._gateway.name
        if not failures:
            raise AgentError(f"the gateway {name} has no pod with an address: is it running?")
        raise AgentError(f"no pod of the gateway {name} could be asked: {'; '.join(failures[:3])}")

    async def _ask(self, endpoint: Endpoint, path: str, body: bytes, kind: type[_R]) -> _R:
        gateway = self._gateway
        try:
            async with connected(endpoint.host, endpoint.port, source=gateway.local_address) as connection:
                tls = Tls(connection, gateway.context(), server_name=gateway.name)
                await tls.handshake()
                self._check(tls)
                exchange = Exchange(tls)
                head = await exchange.ask("POST", path, host=gateway.name, body=body)
                answer = await exchange.read(limit=MAX_REPORT_BYTES)
        except (NotHttpError, InvalidCertificateError) as error:
            raise AgentError(str(error)) from error
        except NoAnswerError as error:
            raise AgentError("it closed the connection in place of an answer") from error
        except OSError as error:
            raise AgentError(in_words(error)) from error
        if head.status != 200:
            raise AgentError(f"status {head.status}: {answer[:200].decode(errors='replace').strip()}")
        try:
            return parse_report(answer, kind)
        except BadOrderError as error:
            raise AgentError(str(error)) from error

    def _check(self, tls: Tls) -> None:
        identity = peer_identity(tls.session)
        if identity not in self._gateway.identities:
            raise AgentError(f"it is {identity}, expected {' or '.join(map(str, self._gateway.identities))}")
