"""The gRPC service over real sockets and mutual TLS, told as transcripts."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest
import structlog
from tests.waiting import until
from tests.xds.transcript import CLUSTER, DOMAIN, LISTENER, Admitted, Server, account, serving

from isthmus.identity import Authority
from isthmus.xds import LIMITS, Resource
from isthmus.xds.server import MAX_REASON_LENGTH

EGRESS = account("egress-green-mesh-service-account")
INGRESS = account("ingress-green-mesh-service-account")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A service that knows one gateway, whose table is empty."""
    clients = Admitted()
    clients.table(EGRESS)
    async with serving(clients) as running:
        yield running


def resource(name: str, version: str = "1") -> Resource:
    return Resource(name, version, b"")


async def test_the_certificate_says_who_the_client_is(server: Server) -> None:
    """A client is served the table of its identity, and no other; the node's words are passed on as such."""
    server.clients.table(EGRESS).put(CLUSTER, resource("of-egress"))
    server.clients.table(INGRESS).put(CLUSTER, resource("of-ingress"))
    async with server.stream(INGRESS) as stream:
        await stream.request(metadata={"POD_IP": "10.0.0.7", "GATEWAY": "egress-green-mesh"})
        await stream.expect({"of-ingress": "1"})
        assert server.clients.streams == [str(INGRESS)]
    assert server.clients.metadata == [{"POD_IP": "10.0.0.7", "GATEWAY": "egress-green-mesh"}]


async def test_an_unknown_identity_is_refused_with_the_reason(server: Server) -> None:
    """A workload of the mesh that is no known gateway is told so, and no stream of it begins."""
    async with server.stream(account("default")) as stream:
        await stream.request(metadata={"GATEWAY": "egress-green-mesh"})
        code, details = await stream.expect_end()
        assert code == grpc.StatusCode.PERMISSION_DENIED
        assert str(account("default")) in details
    assert server.clients.streams == server.clients.ended == []


async def test_only_the_root_of_the_mesh_vouches_for_a_client(server: Server) -> None:
    """The right identity under another root, and no certificate at all, do not get as far as a stream."""
    stranger = Authority.self_signed(DOMAIN, now=datetime.now(UTC))
    for stream in (server.stream(EGRESS, authority=stranger), server.stream(None)):
        async with stream as refused:
            assert (await refused.expect_end())[0] == grpc.StatusCode.UNAVAILABLE
    assert server.clients.metadata == []


async def test_changes_are_pushed_as_they_come(server: Server) -> None:
    """What changes after the first answer is sent unasked: only what differs, removals by name."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as stream:
        await stream.request(CLUSTER)
        await stream.ack(await stream.expect({}))
        table.put(CLUSTER, resource("a"))
        await stream.ack(await stream.expect({"a": "1"}))
        table.replace(CLUSTER, [resource("a", "2"), resource("b")])
        await stream.ack(await stream.expect({"a": "2", "b": "1"}))
        table.remove(CLUSTER, "a")
        await stream.ack(await stream.expect(removed=["a"]))
        table.put(CLUSTER, resource("b"))
        await stream.expect_nothing()


async def test_a_burst_of_changes_is_one_response(server: Server) -> None:
    """Changes that are made together are sent together, each resource once, as it is in the end."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as stream:
        await stream.request(CLUSTER)
        await stream.expect({})
        for version in ("1", "2", "3"):
            table.put(CLUSTER, resource("a", version))
        table.put(CLUSTER, resource("gone"))
        table.remove(CLUSTER, "gone")
        await stream.expect({"a": "3"})
        await stream.expect_nothing()


async def test_clusters_come_before_the_listeners_that_use_them(server: Server) -> None:
    """Of types that change together, additions go out in the service's order and removals the other way round."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as stream:
        for type_url in (LISTENER, CLUSTER):
            await stream.request(type_url)
            await stream.expect({}, type_url=type_url)
        table.put(LISTENER, resource("l"))
        table.put(CLUSTER, resource("c"))
        await stream.expect({"c": "1"}, type_url=CLUSTER)
        await stream.expect({"l": "1"}, type_url=LISTENER)
        table.remove(CLUSTER, "c")
        table.remove(LISTENER, "l")
        await stream.expect(removed=["l"], type_url=LISTENER)
        await stream.expect(removed=["c"], type_url=CLUSTER)


async def test_a_name_that_does_not_exist_is_answered(server: Server) -> None:
    """Who subscribes to a name that nothing has is told at once, and sent the resource when there is one."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as stream:
        await stream.request(subscribe=["later"])
        await stream.expect({})
        await stream.expect(removed=["later"])
        table.put(CLUSTER, resource("other"))
        await stream.expect_nothing()
        table.put(CLUSTER, resource("later"))
        await stream.expect({"later": "1"})


async def test_a_client_that_comes_back_is_sent_the_difference(server: Server) -> None:
    """Versions from an earlier stream are believed: what is the same is not sent again, what is gone is removed."""
    table = server.clients.table(EGRESS)
    table.replace(CLUSTER, [resource("same"), resource("other", "2")])
    async with server.stream(EGRESS) as stream:
        await stream.request(versions={"same": "1", "other": "1", "gone": "1"})
        await stream.expect({"other": "2"})
        await stream.expect(removed=["gone"])
        await stream.expect_nothing()


async def test_nack_is_reported_and_the_next_version_sent(server: Server) -> None:
    """A NACK is told with names and reason; the same version is not pressed on the client, the next one is sent."""
    table = server.clients.table(EGRESS)
    table.put(CLUSTER, resource("bad"))
    async with server.stream(EGRESS) as stream:
        await stream.request()
        await stream.nack(await stream.expect({"bad": "1"}), "no such filter")
        await stream.expect_nothing()
        (rejection,) = server.clients.rejections
        assert (rejection.type_url, rejection.names, rejection.reason) == (CLUSTER, ("bad",), "no such filter")
        table.put(CLUSTER, resource("bad", "2"))
        await stream.nack(await stream.expect({"bad": "2"}), "")
        await stream.expect_nothing()
        assert server.clients.rejections[1].reason == "no reason given"
        await stream.request()
        table.put(CLUSTER, resource("bad", "3"))
        await stream.nack(await stream.expect({"bad": "3"}), "x" * 100_000)
        await stream.expect_nothing()
        assert server.clients.rejections[2].reason == "x" * MAX_REASON_LENGTH


async def test_a_nack_is_told_of_its_stream(server: Server) -> None:
    """What one pod of a client takes says nothing of another; a stream that ends has taken and refused its last."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as taking:
        async with server.stream(EGRESS) as refusing:
            for stream in (refusing, taking):
                await stream.request()
                await stream.ack(await stream.expect({}))
            table.put(CLUSTER, resource("a"))
            await refusing.nack(await refusing.expect({"a": "1"}), "no such filter")
            await until(lambda: len(server.clients.unsettled) == 1)
            await taking.ack(await taking.expect({"a": "1"}))
            await taking.expect_nothing()
            assert len(server.clients.unsettled) == 1
        await until(lambda: server.clients.unsettled == set())
        await taking.expect_nothing()


async def test_all_streams_of_a_client_are_told(server: Server) -> None:
    """Two pods of one gateway that listen on one address are both up to date; one that leaves is no longer told."""
    table = server.clients.table(EGRESS)
    async with server.stream(EGRESS) as first:
        async with server.stream(EGRESS) as second:
            for stream in (first, second):
                await stream.request()
                await stream.expect({})
            table.put(CLUSTER, resource("a"))
            await first.expect({"a": "1"})
            await second.expect({"a": "1"})
        await until(lambda: len(server.clients.streams) == 1)
        table.put(CLUSTER, resource("a", "2"))
        await first.expect({"a": "2"})


async def test_a_client_that_has_no_more_to_say_ends_its_stream(server: Server) -> None:
    """When the client closes its half, the stream ends without an error and is told to have ended, once."""
    async with server.stream(EGRESS) as stream:
        await stream.request()
        await stream.expect({})
        await stream.finish()
        assert await stream.expect_end() == (grpc.StatusCode.OK, "")
    await until(lambda: server.clients.ended == [str(EGRESS)])


async def test_a_client_that_vanishes_leaves_nothing_behind(server: Server) -> None:
    """A stream that is cut is told to have ended, and nobody listens to its table any more."""
    async with server.stream(EGRESS) as stream:
        await stream.request()
        await stream.expect({})
        assert server.clients.table(EGRESS)._listeners
    await until(lambda: server.clients.ended == [str(EGRESS)])
    assert not server.clients.table(EGRESS)._listeners
    assert server.clients.streams == []


async def test_a_stream_without_a_request_is_nobodys(server: Server) -> None:
    """A client that says nothing and leaves is never admitted."""
    async with server.stream(EGRESS) as stream:
        await stream.finish()
        assert await stream.expect_end() == (grpc.StatusCode.OK, "")
    assert server.clients.metadata == []


@pytest.mark.parametrize("in_the_first_request", [True, False])
async def test_a_stream_is_bounded(
    server: Server, caplog: pytest.LogCaptureFixture, in_the_first_request: bool
) -> None:
    """A client that goes beyond a limit is cut off with RESOURCE_EXHAUSTED, and that is no traceback."""
    with caplog.at_level(logging.DEBUG):
        async with server.stream(EGRESS) as stream:
            if not in_the_first_request:
                await stream.request(LISTENER)
                await stream.expect({}, type_url=LISTENER)
            await stream.request(subscribe=["x" * (LIMITS.characters + 1)])
            code, details = await stream.expect_end()
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"{LIMITS.characters} at most" in details
        await until(lambda: server.clients.ended == [str(EGRESS)])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
async def test_names_without_end_are_told_once(server: Server) -> None:
    """A client that makes names up is answered, one line tells of it, and what there is reaches it as before."""
    with structlog.testing.capture_logs() as told:
        async with server.stream(EGRESS) as stream:
            await stream.request(subscribe=["real"])
            await stream.expect({})
            await stream.ack(await stream.expect(removed=["real"]))
            for first in (0, LIMITS.names):
                names = [f"{first + number:x}" for number in range(LIMITS.names)]
                await stream.request(subscribe=names)
                await stream.ack(await stream.expect({}, removed=names))
            server.clients.table(EGRESS).put(CLUSTER, resource("real"))
            await stream.expect({"real": "1"})
    assert [line["names"] for line in told] == [LIMITS.names]


@pytest.mark.slow
async def test_a_client_with_twenty_thousand_imports_comes_back(server: Server) -> None:
    """It tells all that it has and wants in one request, with names as long as can be, and is let in."""
    names = [f"{number:05}{'x' * 295}" for number in range(20_000)]
    table = server.clients.table(EGRESS)
    table.replace(CLUSTER, [resource(name) for name in names])
    async with server.stream(EGRESS) as stream:
        await stream.request(subscribe=names, versions=dict.fromkeys(names, "1"))
        await stream.ack(await stream.expect({}))
        table.put(CLUSTER, resource(names[0], "2"))
        await stream.expect({names[0]: "2"})


async def test_other_methods_are_not_implemented(server: Server) -> None:
    """The service answers to its own methods only."""
    async with server.stream(
        EGRESS, method="/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"
    ) as stream:
        assert (await stream.expect_end())[0] == grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_is_refused_again_and_again_is_one_line(server: Server) -> None:
    """It comes back every second or so; the log tells of it once for each reason."""
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            async with server.stream(account("nobody")) as stream:
                await stream.request()
                assert (await stream.expect_end())[0] == grpc.StatusCode.PERMISSION_DENIED
    assert [line["event"] for line in told] == ["xds client refused"]
