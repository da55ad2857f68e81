"""The agent's server and its client over real mutual TLS: who may give orders, and how they are bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.black_hole import black_hole
from tests.discovery.mesh import all_closed
from tests.probe.peer import OUR_EGRESS, PEER, POD, RED, GreenCa, Us, listening, now, order, silent
from tests.sockets import calling
from tests.waiting import until

from isthmus.federation.findings import Fault, Step
from isthmus.federation.plan import Endpoint
from isthmus.identity import Authority, SpiffeId, TrustDomain
from isthmus.mutual_tls import client_context, server_context
from isthmus.probe import AgentError, GatewayAgent, ProbeClient, RequestOrder, serve_agent
from isthmus.probe.channel import Tls, connected
from isthmus.probe.http import Exchange
from isthmus.probe.orders import MAX_ORDER_BYTES
from isthmus.probe.server import MAX_UNDER_WAY

PILOT = SpiffeId.service_account(RED, namespace="red-mesh-system", account="istiod-red-mesh")
FORMER_PILOT = replace(PILOT, trust_domain=TrustDomain("former.local"))
PILOT_IP = "127.83.0.9"


class Agent:
    """Our gateway's agent, listening, and clients of it."""

    def __init__(self, us: Us, port: int) -> None:
        self.us = us
        self.port = port

    def client(
        self,
        caller: SpiffeId = PILOT,
        *,
        gateway: Sequence[SpiffeId] = (OUR_EGRESS,),
        authority: Authority | None = None,
    ) -> ProbeClient:
        svid = (authority or self.us.authority).issue_svid(caller, lifetime=timedelta(hours=1), now=now())
        context = client_context(svid, server_roots=self.us.bundle)
        return ProbeClient(
            GatewayAgent(
                name="egress-green-mesh",
                identities=gateway,
                endpoints=lambda: [Endpoint(POD, self.port)],
                context=lambda: context,
                local_address=PILOT_IP,
            )
        )

    async def raw(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        """A request of the pilot's that no client of ours would make."""
        svid = self.us.authority.issue_svid(PILOT, lifetime=timedelta(hours=1), now=now())
        async with connected(POD, self.port, source=PILOT_IP) as connection:
            tls = Tls(connection, client_context(svid, server_roots=self.us.bundle), server_name="egress")
            await tls.handshake()
            exchange = Exchange(tls)
            head = await exchange.ask(method, path, host="egress", body=body)
            return head.status, (await exchange.read(limit=10_000)).decode()


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    us = Us()
    svid = us.authority.issue_svid(OUR_EGRESS, lifetime=timedelta(hours=1), now=now())
    context = server_context(svid, client_roots=us.bundle)
    async with serve_agent(
        us.prober, context, host=POD, port=0, admitted=[PILOT, FORMER_PILOT], order_timeout_s=1
    ) as port:
        yield Agent(us, port)
    await all_closed(port, host=POD)


async def test_the_pilot_gets_a_report(agent: Agent) -> None:
    """An order goes to the gateway's pod and its report comes back."""
    report = await agent.client().probe(order(GreenCa(), 1))
    assert report.pod == "egress-0"
    assert [(each.reached, each.fault) for each in report.attempts] == [(Step.RESOLVE, Fault.REFUSED)]


async def test_nobody_but_the_pilot_gives_orders(agent: Agent) -> None:
    """Another identity of the mesh is cut off, and so is the pilot's name under another root."""
    stranger = Authority.self_signed(RED, now=now())
    for client in (agent.client(OUR_EGRESS), agent.client(authority=stranger)):
        with pytest.raises(AgentError, match=r"no pod of the gateway egress-green-mesh could be asked: 127\.83\.0\.1"):
            await client.probe(order(GreenCa(), 1))


async def test_the_pilot_orders_nobody_but_the_gateway(agent: Agent) -> None:
    """A pod that is not the gateway meant gets no order."""
    other = SpiffeId.service_account(RED, namespace="red-mesh-system", account="ingress-service-account")
    with pytest.raises(AgentError, match=f"expected {other} or {OUR_EGRESS}2"):
        await agent.client(gateway=(other, SpiffeId.parse(f"{OUR_EGRESS}2"))).probe(order(GreenCa(), 1))


async def test_a_mesh_may_have_several_trust_domains(agent: Agent) -> None:
    """While a mesh moves from one to another, pilot and gateway take each other for what they are in either."""
    others = replace(OUR_EGRESS, trust_domain=TrustDomain("new.local")), OUR_EGRESS
    assert (await agent.client(FORMER_PILOT, gateway=others).probe(order(GreenCa(), 1))).pod == "egress-0"


async def test_a_gateway_without_pods() -> None:
    """Nobody to ask is an error of its own words."""
    us = Us()
    client = Agent(us, 1).client()
    with pytest.raises(AgentError, match="connection refused"):
        await client.probe(order(GreenCa(), 1))
    gateway = GatewayAgent(
        name="egress", identities=[OUR_EGRESS], endpoints=list, context=us.pod.context, local_address=PILOT_IP
    )
    with pytest.raises(AgentError, match="has no pod with an address"):
        await ProbeClient(gateway).probe(order(GreenCa(), 1))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/other", b"{}", 404, "only /v1/probe and /v1/request"),
        ("PUT", "/v1/probe", b"{}", 405, "only POST"),
        ("POST", "/v1/probe", b"{}", 400, "missing required field `addresses`"),
        ("POST", "/v1/request", b"[", 400, "not a RequestOrder in JSON"),
        ("POST", "/v1/request", b'{"gatewayPort": 22, "host": "a"}', 400, ">= 16000"),
        ("POST", "/v1/probe", b" " * (MAX_ORDER_BYTES + 1), 413, "at most"),
    ],
)
async def test_orders_that_are_none(agent: Agent, method: str, path: str, body: bytes, status: int, said: str) -> None:
    """Each gets its status and a sentence."""
    answer = await agent.raw(method, path, body)
    assert answer[0] == status
    assert said in answer[1]


async def test_no_more_orders_at_once_than_told(agent: Agent) -> None:
    """One order too many is refused at once, and is taken again when the others have ended."""
    green = GreenCa()
    with black_hole(PEER) as port:
        fillers = calling(port)
        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(agent.client().probe(order(green, port, timeout_s=1.0))) for _ in range(4)]
            assert len(slow) == MAX_UNDER_WAY
            await until(lambda: calling(port) == fillers + MAX_UNDER_WAY, within_s=1)
            with pytest.raises(AgentError, match="status 503: 4 orders are under way"):
                await agent.client().probe(order(green, 1))
    assert {task.result().attempts[0].fault for task in slow} == {Fault.TIMED_OUT}
    assert (await agent.client().probe(order(green, 1))).attempts


async def test_who_says_nothing_is_left(agent: Agent) -> None:
    """A connection that sends no order is closed after a while; the agent still answers others."""
    svid = agent.us.authority.issue_svid(PILOT, lifetime=timedelta(hours=1), now=now())
    async with connected(POD, agent.port, source=PILOT_IP) as connection:
        tls = Tls(connection, client_context(svid, server_roots=agent.us.bundle), server_name="egress")
        await tls.handshake()
        assert (await agent.client().probe(order(GreenCa(), 1))).pod == "egress-0"
        async with asyncio.timeout(2):
            assert await tls.receive() == b""


async def test_a_gateway_that_does_not_answer(agent: Agent) -> None:
    """A pod that takes the connection and stays silent costs the order's time and a little more."""
    async with listening(silent, host=PEER) as port:
        client = Agent(agent.us, port).client()
        client._gateway = GatewayAgent(
            name="egress",
            identities=[OUR_EGRESS],
            endpoints=lambda: [Endpoint(PEER, port), Endpoint(POD, agent.port)],
            context=client._gateway.context,
            local_address=PILOT_IP,
        )
        report = await client.request(RequestOrder(gateway_port=16000, host="a.b", timeout_s=0.1))
    assert (report.pod, report.fault) == ("egress-0", Fault.REFUSED)
