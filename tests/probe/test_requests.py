"""Requests to an imported port: what counts as an answer, with a real server in Envoy's place."""

import asyncio

import pytest
from tests.probe.peer import POD, GreenCa, Handler, Us, answering, greeting, listening, silent

from isthmus.envoy import cluster, egress
from isthmus.envoy.message import ON_DEMAND
from isthmus.federation.findings import Fault, RequestReport
from isthmus.federation.plan import Endpoint, ImportedPort, RemotePeer
from isthmus.federation.ports import FIRST_PORT
from isthmus.pilot.checks import REQUEST_TIMEOUT_S
from isthmus.probe import RequestOrder
from isthmus.probe.prober import OPEN_FOR_S


async def request(handler: Handler, protocol: str) -> RequestReport:
    """The report on one server."""
    async with listening(handler, host=POD) as port:
        order = RequestOrder(gateway_port=port, protocol=protocol, host="ratings.bookinfo", timeout_s=1)
        return await Us().prober.request(order)


async def settings_of_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers the preface of HTTP/2, and nothing else."""
    assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    writer.write(bytes.fromhex("000000040000000000"))


CASES: dict[str, tuple[Handler, str, Fault | None, int, str]] = {
    "HTTP 200": (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "HTTP", None, 200, "200 OK"),
    "HTTP 404": (answering(b"HTTP/1.1 404 Not Found\r\n\r\n"), "HTTP", None, 404, "404 Not Found"),
    "HTTP closed": (answering(b""), "HTTP", Fault.CLOSED, 0, "closed in place of an answer"),
    "HTTP at once closed": (greeting(b""), "HTTP", Fault.CLOSED, 0, "connection"),
    "no HTTP": (answering(b"220 mail\r\n\r\n"), "HTTP", Fault.PROTOCOL, 0, "not HTTP"),
    "GRPC": (settings_of_http2, "GRPC", None, 0, "9 bytes came"),
    "GRPC waits": (silent, "GRPC", Fault.TIMED_OUT, 0, "no answer within 1 s"),
    "TCP speaks": (greeting(b"220 mail\r\n"), "TCP", None, 0, "10 bytes came"),
    "TCP waits": (silent, "TCP", None, 0, "stayed open"),
    "TCP closes": (greeting(b""), "MONGO", Fault.CLOSED, 0, "closed"),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_counts_as_an_answer(name: str) -> None:
    """Any HTTP answer does, any byte, and staying open where the client speaks first; being closed does not."""
    handler, protocol, fault, status, said = CASES[name]
    report = await request(handler, protocol)
    assert (report.fault, report.status) == (fault, status)
    assert said in report.detail
    assert report.pod == "egress-0"
    assert report.duration_ms > 0


def test_a_connection_that_stays_open_leads_to_the_peer() -> None:
    """What counts as open is longer than Envoy keeps a caller waiting for a peer that does not answer."""
    port = ImportedPort(FIRST_PORT, "green-mesh", "a.b.svc.red-mesh-exports.local", 5432, ())
    peer = RemotePeer("green-mesh", "discovery", 0, (), (Endpoint("192.0.2.1", 15443),), GreenCa().bundle)
    attempt_s = cluster.imported(port, peer).connect_timeout.seconds
    assert attempt_s > 0
    assert ON_DEMAND["timeout"]["seconds"] + egress.CONNECT_ATTEMPTS * attempt_s < OPEN_FOR_S < REQUEST_TIMEOUT_S


async def test_a_port_that_nothing_listens_on() -> None:
    """An import that the gateway has not is refused."""
    report = await Us().prober.request(RequestOrder(gateway_port=FIRST_PORT, host="a", timeout_s=1))
    assert (report.fault, report.detail) == (Fault.REFUSED, "connection refused")


async def test_a_server_of_http_that_does_not_answer() -> None:
    """It takes as long as the order allows."""
    async with listening(silent, host=POD) as port:
        order = RequestOrder(gateway_port=port, protocol="HTTP", host="a", timeout_s=0.3)
        report = await Us().prober.request(order)
    assert (report.fault, report.detail) == (Fault.TIMED_OUT, "no answer within 0.3 s")
