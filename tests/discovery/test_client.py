"""Both ends over real TLS: a peer's exports arrive, and stay when the peer does not."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog
from tests.discovery.mesh import (
    EGRESS,
    HOST,
    INGRESS,
    PILOT,
    GreenLink,
    Mesh,
    OnePeer,
    account,
    behind_gateways,
    in_background,
    running,
    service,
)
from tests.discovery.scripted import HANG, ScriptedPeer, answer, answered_list, chunk, head, told_add
from tests.waiting import until

from isthmus.discovery import LinkError, PeerClient, Route, Tally, discovery_app
from isthmus.federation.messages import MAX_EVENT_BYTES
from isthmus.federation.plan import Endpoint


@dataclass
class Told:
    """A listener that remembers."""

    events: list[str] = field(default_factory=list)
    changed: list[frozenset[str]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    offsets: list[float | None] = field(default_factory=list)
    own_gateway: list[bool] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def watch_connected(self, *, clock_offset_s: float | None) -> None:
        self.events.append("connected")
        self.offsets.append(clock_offset_s)

    def clock_told(self, offset_s: float) -> None:
        self.offsets.append(offset_s)

    def watch_failed(self, cause: str, *, at_own_gateway: bool) -> None:
        self.events.append(f"failed: {cause}")
        self.own_gateway.append(at_own_gateway)

    def not_understood(self, reason: str) -> None:
        self.doubts.append(reason)

    def got_event(self) -> None:
        self.events.append("event")

    def got_list(self) -> None:
        self.events.append("list")

    def services_changed(self, hostnames: frozenset[str]) -> None:
        self.changed.append(hostnames)


def _names(client: PeerClient) -> list[str]:
    return sorted(known.name for known in client.known)


@pytest.mark.parametrize(
    ("headers", "ends"),
    [
        pytest.param(("isthmus-peer-certificate-ends: 1900000000",), 1_900_000_000.0, id="told"),
        pytest.param((), None, id="not told"),
        pytest.param(("isthmus-peer-certificate-ends: -",), None, id="not known to the gateway"),
        pytest.param(("isthmus-peer-certificate-ends: nan",), None, id="no time"),
    ],
)
async def test_the_end_of_the_peers_certificate(mesh: Mesh, headers: tuple[str, ...], ends: float | None) -> None:
    """What our gateway tells with the watch is known of the client."""
    told = Told()
    script = {"/v1/watch": [head(*headers), HANG], "/v1/services/": [answered_list(service("ratings"))]}
    async with ScriptedPeer(script).listening(mesh.serves(EGRESS)) as peer, _following(mesh, peer.port, told) as client:
        await until(lambda: "list" in told.events)
        assert client.certificate_ends == ends
        assert told.tally.lists_received == told.tally.connects == 1
        assert told.tally.bytes_received > 100


@pytest.mark.parametrize("first", ["600", "nan", None], ids=["told", "nonsense", "not told"])
async def test_a_peers_time_is_heard_anew(mesh: Mesh, first: str | None) -> None:
    """A peer that tells its time is asked for it while the watch stands: a clock that is set right is noticed."""

    def clock(ahead_s: str) -> bytes:
        told = f"isthmus-time: {time.time() + float(ahead_s):.3f}"
        return f"HTTP/1.1 200 OK\r\n{told}\r\ncontent-length: 2\r\n\r\n{{}}".encode()

    asked = [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", clock("0"), clock("-600")]
    script = {
        "/v1/watch": [head(*(f"isthmus-time: {time.time() + float(each)}" for each in [first] if each)), HANG],
        "/v1/services/": [answered_list(service("ratings"))],
    }
    told, peer = Told(), ScriptedPeer(script, in_turn={"/v1/peer": asked})
    async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer.port, told, clock_again_s=0.01):
        await until(lambda: "list" in told.events and (first != "600" or len(told.offsets) > 2))
    assert told.offsets[:3] == ([pytest.approx(each, abs=5) for each in (600, 0, -600)] if first == "600" else [None])
    assert [each for each in told.events if each.startswith("failed")] == []


class TestWithAnIsthmus:
    """The peer is our own server."""

    async def test_exports_arrive_and_are_followed(self, mesh: Mesh, green: GreenLink) -> None:
        """Watch, list, events; no further list is fetched for them."""
        told = Told()
        async with _exporting(mesh, green) as port, _following(mesh, port, told) as client:
            await until(lambda: _names(client) == ["ratings"])
            green.feed.put(service("reviews"))
            green.feed.put(service("reviews", port=9081))
            green.feed.remove(service("ratings").hostname)
            await until(lambda: _names(client) == ["reviews"])
            assert client.known.get(service("reviews").hostname) == service("reviews", port=9081)
            assert client.is_connected
        assert told.events == ["connected", "list", "event", "event", "event"]
        assert [kind for kind, _ in green.told].count("list") == 1

    async def test_a_burst_arrives_whole(self, mesh: Mesh, green: GreenLink) -> None:
        """Ten thousand services exported at once arrive, whether by list or by events, with the same checksum."""
        async with _exporting(mesh, green) as port, _following(mesh, port, Told()) as client:
            green.feed.replace(service(f"service-{number}") for number in range(5000))
            await until(lambda: client.is_connected)
            green.feed.replace(service(f"service-{number}") for number in range(5000, 15_000))
            await until(lambda: client.known.checksum == green.feed.checksum, within_s=30)
            assert len(client.known) == 10_000

    async def test_a_peer_that_goes_away_takes_nothing_down(self, mesh: Mesh, green: GreenLink) -> None:
        """What was imported stays as it was last known; the link comes back by itself and tells only what changed."""
        where = Where()
        async with _following(mesh, where, told := Told()) as client:
            async with _exporting(mesh, green) as where.port:
                await until(lambda: _names(client) == ["ratings"])
            await until(lambda: not client.is_connected)
            assert _names(client) == ["ratings"]
            green.feed.put(service("reviews"))
            async with _exporting(mesh, green) as where.port:
                await until(lambda: _names(client) == ["ratings", "reviews"])
                assert told.events[-2:] == ["connected", "list"]
        assert told.changed == [frozenset({service(name).hostname}) for name in ("ratings", "reviews")]

    async def test_a_nudge_ends_the_wait_for_the_next_attempt(self, mesh: Mesh, green: GreenLink) -> None:
        """When something says that the peer is there, it is tried at once."""
        where = Where()
        attempts = 0

        def asked() -> list[Endpoint]:
            nonlocal attempts
            attempts += 1
            return [Endpoint(HOST, where.port)]

        client = PeerClient(replace(mesh.route(0), endpoints=asked), Told())
        async with in_background(client.run()):
            # By the eighth attempt in a row, the next one would be a second and a half later, at least.
            while attempts < 8:
                client.nudge()
                await asyncio.sleep(0)
            async with _exporting(mesh, green) as where.port:
                client.nudge()
                await until(lambda: client.is_connected, within_s=1.4)

    async def test_a_seed_stands_while_the_peer_is_away(self, mesh: Mesh) -> None:
        """A new process that is told what the former knew keeps it until the peer says otherwise."""
        client = PeerClient(mesh.route(_closed_port()), told := Told(), seed=[service("ratings")])
        async with in_background(client.run()):
            await until(lambda: told.events)
        assert _names(client) == ["ratings"]
        assert told.changed == []

    async def test_a_deleted_peer_ends_the_watch(self, mesh: Mesh, green: GreenLink) -> None:
        """The exporter's administrator deletes the peer: deletes are told, then the watch is closed."""
        told = Told()
        async with _exporting(mesh, green) as port, _following(mesh, port, told) as client:
            await until(lambda: _names(client) == ["ratings"])
            green.feed.replace([])
            green.feed.close()
            await until(lambda: "failed: the peer closed the watch" in told.events)
            assert _names(client) == []

    async def test_the_other_sides_view(self, mesh: Mesh, green: GreenLink) -> None:
        """The view of the link and the roots of the peer can be asked for."""
        async with _exporting(mesh, green) as port:
            client = PeerClient(mesh.route(port), Told())
            view = await client.link_view()
            assert view is not None
            assert (view.peer, view.exports) == ("green-mesh", 1)
            assert await client.trust_bundle() is not None

    async def test_closing_is_immediate(self, mesh: Mesh, green: GreenLink) -> None:
        """A cancelled client leaves no task and no connection, whatever the peer does."""
        async with _exporting(mesh, green) as port:
            async with _following(mesh, port, Told()) as client:
                await until(lambda: client.is_connected)
                cancelled_at = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - cancelled_at < 0.5
            await until(lambda: not green.feed.sources)

    async def test_a_lost_heartbeat_disconnects(self, mesh: Mesh) -> None:
        """A peer that promised heartbeats and falls silent is given up, with the reason."""
        peer = ScriptedPeer({"/v1/watch": [head("isthmus-heartbeat: 0.02"), HANG], "/v1/services/": [answered_list()]})
        async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, told := Told()):
            await until(lambda: any("no heartbeat from the peer" in event for event in told.events))
        assert told.events[0] == "connected"


class TestCauses:
    """lastDisconnectStatus names the hop and the reason."""

    async def test_a_refusal_is_its_status_line(self, mesh: Mesh) -> None:
        """An HTTP answer other than 200 is told by its status line, once, however often it is tried."""
        peer = ScriptedPeer({"/v1/watch": [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"]})
        async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, told := Told()):
            await until(lambda: len(peer.requests) >= 4)
        assert told.events == ["failed: 503 Service Unavailable"]

    async def test_nobody_listens(self, mesh: Mesh) -> None:
        """A gateway that is not there."""
        port = _closed_port()
        cause = await _cause(mesh.route(port))
        assert cause == f"no connection to the egress gateway at {HOST}:{port}: connection refused"

    async def test_no_gateway_pod(self, mesh: Mesh) -> None:
        """A gateway without any pod."""
        cause = await _cause(replace(mesh.route(1), endpoints=list))
        assert cause.endswith(":8188 has no address: is its pod running?")

    async def test_a_gateway_that_is_someone_else(self, mesh: Mesh, green: GreenLink) -> None:
        """The server must be the egress gateway: another identity of the same mesh gets no request."""
        other = account("ingress-blue-mesh-service-account")
        async with _exporting(mesh, green, context=mesh.serves(other)) as port:
            cause = await _cause(mesh.route(port))
        assert cause == f"the egress gateway at {HOST}:{port} is {other}, expected {EGRESS}"
        assert green.told == []

    async def test_a_gateway_of_another_root(self, mesh: Mesh, green: GreenLink) -> None:
        """A certificate with the right name under another root is not trusted."""
        async with _exporting(mesh, green, context=Mesh().serves(EGRESS)) as port:
            assert "its certificate is not trusted: " in await _cause(mesh.route(port))

    async def test_a_gateway_that_does_not_trust_us(self, mesh: Mesh, green: GreenLink) -> None:
        """Our own certificate refused, by a server that is what it should be."""
        strange = Mesh().calls(PILOT)
        strange.load_verify_locations(cadata=mesh.bundle.pem().decode())
        async with _exporting(mesh, green) as port:
            cause = await _cause(replace(mesh.route(port), context=lambda: strange))
        assert cause == f"the egress gateway at {HOST}:{port} closed the connection instead of answering"

    async def test_no_tls(self, mesh: Mesh) -> None:
        """Something that listens, but does not speak TLS."""
        peer = ScriptedPeer(greeting=b"220 ready\r\n")
        async with peer.listening(None):
            assert "TLS failed: wrong version number" in await _cause(mesh.route(peer.port))

    @pytest.mark.parametrize(
        ("said", "cause"),
        [
            (b"HELLO\r\n\r\n", "broke off: illegal status line"),
            (b"", "closed the connection instead of answering"),
            (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000, "broke off: Receive buffer too long"),
        ],
        ids=["not HTTP", "nothing", "headers without end"],
    )
    async def test_no_answer_that_is_http(self, mesh: Mesh, said: bytes, cause: str) -> None:
        """What is not HTTP, not there, or too long."""
        peer = ScriptedPeer({"/v1/watch": [said]})
        async with peer.listening(mesh.serves(EGRESS)):
            assert cause in await _cause(mesh.route(peer.port))

    async def test_a_watch_that_breaks_off(self, mesh: Mesh) -> None:
        """A connection that breaks inside the watch is told from a watch that the peer has closed."""
        peer = ScriptedPeer({"/v1/watch": [head(), chunk(b"\r\n")], "/v1/services/": [answered_list()]})
        async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, told := Told()):
            await until(lambda: any("broke off" in event for event in told.events))

    async def test_one_log_line_for_each_change_of_state(self, mesh: Mesh, green: GreenLink) -> None:
        """Connect, disconnect, and each new cause are one line with the peer's name; retries are silent."""
        peer = ScriptedPeer({"/v1/watch": [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"]})
        with structlog.testing.capture_logs() as logs:
            async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, Told()) as client:
                await until(lambda: len(peer.requests) >= 4)
                async with _exporting(mesh, green) as peer.port:
                    await until(lambda: client.is_connected)
                    green.feed.close()
                    await until(lambda: not client.is_connected)
        lines = [(entry["event"], entry.get("cause")) for entry in logs if entry.get("peer") == "green-mesh"]
        assert lines[:3] == [
            ("peer unreachable", "403 Forbidden"),
            ("peer connected", None),
            ("peer disconnected", "the peer closed the watch"),
        ]


class TestHostilePeers:
    """What a peer says is data."""

    @pytest.mark.parametrize(
        "line",
        [b"not JSON", b'{"action":"add"}', b"[" * 100_000, b"x" * (2 * MAX_EVENT_BYTES), b"\xff\x00"],
        ids=["not JSON", "not an event", "nested", "too long", "binary"],
    )
    async def test_a_line_that_is_no_event(self, mesh: Mesh, line: bytes) -> None:
        """It is logged with the peer's name, nothing changes, and the watch goes on."""
        watch = [head("isthmus-heartbeat: 15"), chunk(line + b"\r\n"), told_add(service("reviews"), service("ratings"))]
        peer = ScriptedPeer({"/v1/watch": [*watch, HANG], "/v1/services/": [answered_list(service("ratings"))]})
        with structlog.testing.capture_logs() as logs:
            async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, told := Told()) as client:
                await until(lambda: _names(client) == ["ratings", "reviews"])
        assert told.events[0] == "connected"
        assert "failed" not in "".join(told.events)
        assert [entry["peer"] for entry in logs if "not understood" in entry["event"]] == ["green-mesh"]

    @pytest.mark.parametrize(
        "body",
        [b"<html></html>", b'{"checksum":1,"services":[{"hostname":"evil"}]}', b"x" * 70_000, b'{"checksum":1'],
        ids=["not JSON", "wrong checksum", "long", "cut"],
    )
    async def test_a_list_that_cannot_be_used(self, mesh: Mesh, body: bytes) -> None:
        """It never replaces what was known; the next good one does."""
        peer = ScriptedPeer(
            {"/v1/watch": [head("isthmus-heartbeat: 15"), HANG]},
            in_turn={"/v1/services/": [answer(body), answered_list(service("ratings"))]},
        )
        async with peer.listening(mesh.serves(EGRESS)):
            client = PeerClient(mesh.route(peer.port), told := Told(), seed=[service("details")])
            async with in_background(client.run()):
                await until(lambda: _names(client) == ["ratings"])
        assert told.events == ["connected", "list"]
        assert told.changed == [frozenset({service("details").hostname, service("ratings").hostname})]

    async def test_an_answer_without_end(self, mesh: Mesh) -> None:
        """A body that does not end is not read to its end."""
        peer = ScriptedPeer({"/v1/peer": [head(), *[chunk(b"x" * 60_000)] * 100, HANG]})
        async with peer.listening(mesh.serves(EGRESS)):
            with pytest.raises(LinkError, match="longer than"):
                await PeerClient(mesh.route(peer.port), Told()).link_view()


class TestOldPeers:
    """Peers as OpenShift Service Mesh 2.x has them: no heartbeat, no /v1/peer."""

    async def test_list_and_events(self, mesh: Mesh) -> None:
        """Headers without heartbeat, one list, events with checksums: all is followed."""
        watch = [head(), told_add(service("reviews"), service("ratings")), HANG]
        peer = ScriptedPeer({"/v1/watch": watch, "/v1/services/": [answered_list(service("ratings"))]})
        async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, Told()) as client:
            await until(lambda: _names(client) == ["ratings", "reviews"])

    async def test_what_they_do_not_have(self, mesh: Mesh) -> None:
        """404 is no error: the peer is just old."""
        peer = ScriptedPeer()
        async with peer.listening(mesh.serves(EGRESS)):
            client = PeerClient(mesh.route(peer.port), Told())
            assert await client.link_view() is None
            assert await client.trust_bundle() is None

    async def test_the_request_is_what_gateways_expect(self, mesh: Mesh) -> None:
        """§1: the paths, and the headers discovery-service and remote that the egress routes by."""
        peer = ScriptedPeer({"/v1/watch": [head(), HANG], "/v1/services/": [answered_list()]})
        async with peer.listening(mesh.serves(EGRESS)), _following(mesh, peer, told := Told()):
            await until(lambda: "list" in told.events)
        for request, path in zip(peer.requests, (b"/v1/watch", b"/v1/services/"), strict=True):
            assert request.startswith(b"GET " + path + b" HTTP/1.1\r\n")
            headers = request.lower()
            assert b"\r\nhost: egress-green-mesh.red-mesh-system.svc.cluster.local:8188\r\n" in headers
            assert b"\r\ndiscovery-service: discovery.red-mesh-system.svc.green-mesh.local\r\n" in headers
            assert b"\r\nremote: 7\r\n" in headers


def _closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@dataclass
class Where:
    """Where the egress gateway is just now."""

    port: int = field(default_factory=_closed_port)


@asynccontextmanager
async def _exporting(mesh: Mesh, green: GreenLink, *, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The peer's discovery server as it looks through the two gateways; its port."""
    app = behind_gateways(discovery_app(OnePeer(green)))
    async with running(app, context or mesh.serves(EGRESS)) as (_, port):
        yield port


@asynccontextmanager
async def _following(
    mesh: Mesh, where: Where | ScriptedPeer | int, told: Told, *, clock_again_s: float = 60.0
) -> AsyncIterator[PeerClient]:
    """A client that follows the peer behind a port, which may change."""
    route = mesh.route(0, caller=INGRESS)
    route = replace(route, endpoints=lambda: [Endpoint(HOST, where if isinstance(where, int) else where.port)])
    client = PeerClient(route, told, clock_again_s=clock_again_s)
    async with in_background(client.run()):
        yield client


async def _cause(route: Route) -> str:
    """What a client that follows this route is told of its first failure."""
    client = PeerClient(route, told := Told())
    async with in_background(client.run()):
        await until(lambda: told.events)
    return told.events[0].removeprefix("failed: ")
