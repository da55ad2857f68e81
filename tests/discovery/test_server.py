"""The server end, over real TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from tests.discovery.mesh import (
    DOMAIN,
    HOST,
    INGRESS,
    PILOT,
    GreenLink,
    Mesh,
    OnePeer,
    account,
    running,
    service,
)
from tests.waiting import until

from isthmus.discovery import DiscoveryServer, LinkError, Route, discovery_app, parse_trust_bundle
from isthmus.discovery.exchange import Answer, call
from isthmus.discovery.feed import MAX_QUEUED_BYTES
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import encode, parse_link_view, parse_service_list, parse_watch_event

Serving = tuple[DiscoveryServer, Route]


@pytest.fixture
async def serving(mesh: Mesh, green: GreenLink) -> AsyncIterator[Serving]:
    """The pilot's discovery server, and a way to call it as our ingress gateway does."""
    async with running(discovery_app(OnePeer(green)), mesh.serves(PILOT)) as (server, port):
        yield server, mesh.route(port, caller=INGRESS, gateway=PILOT)


async def _get(route: Route, path: str) -> tuple[str, bytes]:
    async with call(route, path) as answer:
        return answer.status_line, await answer.read_all(limit=1 << 20, timeout_s=5)


async def _read_line(watch: Answer) -> bytes:
    """One piece of a watch: what was sent in one go."""
    async with asyncio.timeout(5):
        return await watch.read_some()


class TestRoutes:
    """§2: what is asked, what is answered."""

    async def test_the_list(self, serving: Serving, green: GreenLink) -> None:
        """GET /v1/services/{peer} gives the list, and the status knows who has it."""
        status, body = await _get(serving[1], "/v1/services/green-mesh")
        assert status == "200 OK"
        assert parse_service_list(body) == Catalogue([service("ratings")]).as_list()
        assert green.told == [("list", HOST_OF_CALLER)]

    async def test_an_unknown_peer(self, serving: Serving) -> None:
        """§2: an unknown peer gets 400."""
        for kind in ("services", "watch", "peer", "trustbundle"):
            status, body = await _get(serving[1], f"/v1/{kind}/blue-mesh")
            assert (status, body) == ("400 Bad Request", b"no peer 'blue-mesh' here\n")

    async def test_another_path(self, serving: Serving) -> None:
        """What is not there is 404, as from a gateway."""
        assert (await _get(serving[1], "/v2/services/green-mesh"))[0] == "404 Not Found"

    async def test_the_view_of_the_link(self, serving: Serving) -> None:
        """GET /v1/peer/{peer} tells what the exporter sees of the link."""
        view = parse_link_view((await _get(serving[1], "/v1/peer/green-mesh"))[1])
        assert (view.peer, view.exports, view.sources) == ("green-mesh", 1, ())

    async def test_the_trust_bundle(self, serving: Serving, mesh: Mesh) -> None:
        """GET /v1/trustbundle/{peer} gives the roots of the exporter's mesh."""
        document = (await _get(serving[1], "/v1/trustbundle/green-mesh"))[1]
        assert parse_trust_bundle(DOMAIN, document) == mesh.bundle


class TestCallers:
    """Who may call."""

    async def test_another_identity_of_the_mesh_is_forbidden(self, serving: Serving, mesh: Mesh) -> None:
        """A caller that may not speak for the peer gets 403, and nothing else, on every path."""
        route = mesh.route(serving[1].endpoints()[0].port, caller=account("default"), gateway=PILOT)
        for kind in ("services", "watch", "peer", "trustbundle"):
            status, body = await _get(route, f"/v1/{kind}/green-mesh")
            assert status == "403 Forbidden"
            assert b"ratings" not in body

    async def test_a_stranger_gets_no_answer(self, serving: Serving) -> None:
        """A certificate of another root, with the right name in it, does not get through the handshake."""
        stranger, port = Mesh(), serving[1].endpoints()[0].port
        context = stranger.calls(INGRESS)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises((OSError, EOFError)):
            await _handshake_and_read(port, context)

    async def test_no_certificate_gets_no_answer(self, serving: Serving) -> None:
        """A caller without a certificate does not get through the handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises((OSError, EOFError)):
            await _handshake_and_read(serving[1].endpoints()[0].port, context)

    async def test_plain_text_gets_no_answer(self, serving: Serving) -> None:
        """The port does not speak HTTP without TLS."""
        with pytest.raises((OSError, EOFError)):
            await _handshake_and_read(serving[1].endpoints()[0].port, None)


class TestWatch:
    """The watch."""

    async def test_headers_come_at_once(self, serving: Serving, green: GreenLink) -> None:
        """§2: 200 with its headers before anything changes; the heartbeat is announced."""
        async with call(serving[1], "/v1/watch/green-mesh") as watch:
            assert watch.status_line == "200 OK"
            assert watch.header("content-type") == "application/json"
            assert watch.header("isthmus-heartbeat") == "15"
            assert green.told == [("connected", HOST_OF_CALLER)]

    async def test_changes_come_as_lines(self, serving: Serving, green: GreenLink) -> None:
        """§2: one event per change, each followed by CR LF, with the checksum of the list after it."""
        expected = Catalogue([service("ratings")])
        async with call(serving[1], "/v1/watch/green-mesh") as watch:
            green.feed.put(service("reviews"))
            event = expected.put(service("reviews"))
            assert event is not None
            assert await _read_line(watch) == encode(event) + b"\r\n"
            green.feed.remove(service("ratings").hostname)
            event = parse_watch_event(await _read_line(watch))
            assert (event.action, event.service) == ("delete", service("ratings"))
            assert event.checksum == Catalogue([service("reviews")]).checksum

    async def test_many_changes_are_sent_together_and_in_order(self, serving: Serving, green: GreenLink) -> None:
        """A burst is some large writes, not one per event; nothing is lost."""
        names = [f"service-{number:04}" for number in range(2000)]
        async with call(serving[1], "/v1/watch/green-mesh") as watch:
            for name in names:
                green.feed.put(service(name))
            received = b""
            while received.count(b"\r\n") < len(names):
                received += await _read_line(watch)
        assert [parse_watch_event(line).service.name for line in received.splitlines()] == names
        assert green.told.count(("event", HOST_OF_CALLER)) < 100

    async def test_a_silent_watch_has_a_heartbeat(self, mesh: Mesh, green: GreenLink) -> None:
        """What Isthmus adds: CR LF alone when nothing else was sent for the time announced."""
        app = discovery_app(OnePeer(green), heartbeat_s=0.05)
        async with (
            running(app, mesh.serves(PILOT)) as (_, port),
            call(mesh.route(port, gateway=PILOT), "/v1/watch/green-mesh") as watch,
        ):
            assert watch.header("isthmus-heartbeat") == "0.05"
            assert [await _read_line(watch) for _ in range(3)] == [b"\r\n"] * 3
        assert ("event", HOST_OF_CALLER) not in green.told

    async def test_deleting_the_peer_ends_its_watches(self, serving: Serving, green: GreenLink) -> None:
        """What was told before is still sent, then the stream ends cleanly."""
        async with call(serving[1], "/v1/watch/green-mesh") as watch:
            green.feed.remove(service("ratings").hostname)
            green.feed.close()
            assert parse_watch_event(await _read_line(watch)).action == "delete"
            assert await _read_line(watch) == b""
        await until(lambda: green.told[-1] == ("disconnected", HOST_OF_CALLER))

    async def test_a_watcher_that_leaves_is_noticed(self, serving: Serving, green: GreenLink) -> None:
        """Connected and disconnected are told once each, for the first and the last of a source's watches."""
        async with call(serving[1], "/v1/watch/green-mesh"):
            async with call(serving[1], "/v1/watch/green-mesh"):
                assert green.feed.sources == (HOST_OF_CALLER,)
            async with call(serving[1], "/v1/watch/green-mesh"):
                pass
        await until(lambda: not green.feed.sources)
        assert green.told == [("connected", HOST_OF_CALLER), ("disconnected", HOST_OF_CALLER)]

    async def test_a_stuck_watcher_is_cut_off_and_blocks_nobody(self, serving: Serving, green: GreenLink) -> None:
        """A watcher that does not read loses its connection; another one has all events meanwhile."""
        port = serving[1].endpoints()[0].port
        async with call(serving[1], "/v1/watch/green-mesh") as healthy:
            reader, writer = await asyncio.open_connection(HOST, port, ssl=serving[1].context(), limit=1024)
            writer.write(b"GET /v1/watch/green-mesh HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 10.0.0.9\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a duplex transport
            events, size = 0, 0
            while ("disconnected", "10.0.0.9") not in green.told:
                green.feed.put(service("ratings", accounts=100, port=events))
                size += await _read_all_of_an_event(healthy, events)
                events += 1
            assert size > MAX_QUEUED_BYTES
            writer.transport.abort()
        await until(lambda: not green.feed.sources)

    async def test_the_source_is_the_first_forwarded_hop(self, serving: Serving, green: GreenLink) -> None:
        """REFERENCE of the status: source is the first X-Forwarded-For hop, if that is an address."""
        port, context = serving[1].endpoints()[0].port, serving[1].context()
        for value in ("10.128.2.149, 10.0.0.1", "evil\x7f, 10.0.0.1", ""):
            _, writer = await asyncio.open_connection(HOST, port, ssl=context)
            request = f"GET /v1/services/green-mesh HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {value}\r\n\r\n"
            before = len(green.told)
            writer.write(request.encode())
            await until(lambda: len(green.told) > before or writer.transport.is_closing())  # noqa: B023
            writer.transport.abort()
        assert green.told[0] == ("list", "10.128.2.149")
        assert {source for _, source in green.told[1:]} <= {HOST_OF_CALLER}


class TestLife:
    """Start, stop, renewal."""

    async def test_a_port_in_use_fails_the_start(self, serving: Serving, mesh: Mesh, green: GreenLink) -> None:
        """A start that cannot succeed raises, in the task and for who waits."""
        port = serving[1].endpoints()[0].port
        server = DiscoveryServer(discovery_app(OnePeer(green)), mesh.serves(PILOT), host=HOST, port=port)
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with pytest.raises(OSError, match="address already in use"):
            await server.run(started)
        with pytest.raises(OSError, match="address already in use"):
            await started

    async def test_it_stops_within_a_second_with_open_watches(self, mesh: Mesh, green: GreenLink) -> None:
        """Open watches, even one of a client that reads nothing, do not hold the stop up."""
        async with asyncio.timeout(5):
            async with running(discovery_app(OnePeer(green)), mesh.serves(PILOT)) as (_, port):
                route = mesh.route(port, gateway=PILOT)
                watch = call(route, "/v1/watch/green-mesh")
                answer = await watch.__aenter__()
                loop = asyncio.get_running_loop()
                stopping_at = loop.time()
            assert loop.time() - stopping_at < 1
            with pytest.raises(LinkError, match="broke"):
                await answer.read_some()
            await watch.__aexit__(None, None, None)
        assert green.told[-1] == ("disconnected", HOST_OF_CALLER)

    async def test_certificate_and_roots_are_replaced_in_place(self, serving: Serving, green: GreenLink) -> None:
        """New connections get the new certificate and are checked against the new roots; open watches stay."""
        server, old_route = serving
        renewed = Mesh()
        new_route = renewed.route(old_route.endpoints()[0].port, caller=INGRESS, gateway=PILOT)
        async with call(old_route, "/v1/watch/green-mesh") as watch:
            server.replace_context(renewed.serves(PILOT))
            assert (await _get(new_route, "/v1/services/green-mesh"))[0] == "200 OK"
            with pytest.raises(LinkError, match="certificate is not trusted"):
                await _get(old_route, "/v1/services/green-mesh")
            trusting = old_route.context()
            trusting.load_verify_locations(cadata=renewed.bundle.pem().decode())
            with pytest.raises((OSError, EOFError)):
                await _handshake_and_read(old_route.endpoints()[0].port, trusting)
            green.feed.put(service("reviews"))
            assert parse_watch_event(await _read_line(watch)).service == service("reviews")


HOST_OF_CALLER = "127.0.0.1"


async def _handshake_and_read(port: int, context: ssl.SSLContext | None) -> bytes:
    """Ask for the list as one who does not care who answers; raises OSError or EOFError if nothing comes."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        writer.write(b"GET /v1/services/green-mesh HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(5):
            return await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def _read_all_of_an_event(watch: Answer, port: int) -> int:
    """Read until the event that brings this port has come; how many bytes that was."""
    received = b""
    while not received.endswith(b"}\r\n"):
        received += await _read_line(watch)
    assert parse_watch_event(received).service.service_ports[0].port == port
    return len(received)
