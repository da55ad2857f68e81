"""The names of imports over DNS, asked as resolvers ask. Sources: RFC 1035, RFC 7766 (TCP), RFC 8482 (ANY)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import msgspec
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import Service

from isthmus.kube import Change, ObjectKey, Store
from isthmus.pilot.names_server import MAX_TCP_CLIENTS, TTL_S, ImportNames, NamesServer

HOST = "127.79.0.1"
RATINGS = "ratings.bookinfo.svc.green-mesh-imports.local"


def import_of(
    hostname: str = RATINGS, address: str | None = "127.96.0.7", *, name: str = "import-1", peer: str = "green-mesh"
) -> Service:
    """The Service of an import."""
    annotations = {"isthmus.io/exported-name": f"of {hostname}", "isthmus.io/hostname": hostname}
    labels = {"app.kubernetes.io/managed-by": "isthmus", "isthmus.io/peer": peer}
    metadata = {"name": name, "namespace": "red-mesh-system", "labels": labels, "annotations": annotations}
    return msgspec.convert({"metadata": metadata, "spec": {"clusterIP": address}}, Service)


def names_of(*services: Service) -> ImportNames:
    """The names of these Services."""
    names = ImportNames()
    for service in services:
        change(names, None, service)
    return names


def change(names: ImportNames, old: Service | None, new: Service | None) -> None:
    """What the store tells when a Service is another."""
    metadata = (new or old or Service()).metadata
    assert metadata is not None
    names.service_changed(Change(ObjectKey(metadata.namespace or "", metadata.name or ""), old, new))


def ask(names: ImportNames, name: str = RATINGS, kind: str = "A", rdclass: str = "IN") -> tuple[str, list[str]]:
    """The response code and the addresses of an answer."""
    query = dns.message.make_query(name, kind, rdclass)
    wire = names.answer(query.to_wire())
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return dns.rcode.to_text(answer.rcode()), [item.to_text() for rrset in answer.answer for item in rrset]


def test_an_import_has_its_services_address() -> None:
    """The name of an import leads to the address of its Service, however it is written."""
    names = names_of(import_of())
    assert ask(names) == ("NOERROR", ["127.96.0.7"])
    assert ask(names, RATINGS.upper()) == ("NOERROR", ["127.96.0.7"])


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (RATINGS, "AAAA", "NOERROR"),
        (RATINGS, "SRV", "NOERROR"),
        (RATINGS, "ANY", "NOERROR"),
        ("details.bookinfo.svc.green-mesh-imports.local", "A", "NXDOMAIN"),
        ("x.ratings.bookinfo.svc.green-mesh-imports.local", "A", "NXDOMAIN"),
        ("ratings.other.svc.green-mesh-imports.local", "A", "NXDOMAIN"),
        ("bookinfo.svc.green-mesh-imports.local", "A", "NOERROR"),
        ("svc.green-mesh-imports.local", "SOA", "NOERROR"),
        ("green-mesh-imports.local", "A", "NOERROR"),
        ("ratings.bookinfo.svc.blue-mesh-imports.local", "A", "REFUSED"),
        ("kubernetes.default.svc.cluster.local", "A", "REFUSED"),
        ("local", "A", "REFUSED"),
        ("example.com", "A", "REFUSED"),
        (".", "NS", "REFUSED"),
    ],
)
def test_names_without_an_address(name: str, kind: str, expected: str) -> None:
    """Inside the domains of imports there is what there is, outside nothing is resolved: this is no way out."""
    assert ask(names_of(import_of()), name, kind) == (expected, [])


def test_other_classes_are_not_answered() -> None:
    """What is asked of another class than the internet's is refused."""
    assert ask(names_of(import_of()), rdclass="CH") == ("REFUSED", [])


def test_an_address_of_ipv6_is_a_quad_a() -> None:
    """A Service with an IPv6 address is found by AAAA, and has no A."""
    names = names_of(import_of(address="2001:db8::7"))
    assert ask(names, kind="AAAA") == ("NOERROR", ["2001:db8::7"])
    assert ask(names) == ("NOERROR", [])


def test_an_answer_is_authoritative_and_short_lived() -> None:
    """Clients may trust the answer for a few seconds; nothing claims that we would resolve more."""
    wire = names_of(import_of()).answer(dns.message.make_query(RATINGS, "A").to_wire())
    answer = dns.message.from_wire(wire or b"")
    assert answer.flags & dns.flags.AA
    assert not answer.flags & dns.flags.RA
    assert answer.answer[0].ttl == TTL_S


def test_names_follow_their_services() -> None:
    """An address that changes is told at once, one that goes is gone, and with it its domain."""
    names = names_of(first := import_of())
    change(names, first, second := import_of(address="127.96.0.8"))
    assert ask(names) == ("NOERROR", ["127.96.0.8"])
    change(names, second, third := import_of("ratings.bookinfo.mesh.example.com"))
    assert ask(names) == ("REFUSED", [])
    assert ask(names, "ratings.bookinfo.mesh.example.com") == ("NOERROR", ["127.96.0.7"])
    change(names, third, None)
    assert ask(names, "ratings.bookinfo.mesh.example.com") == ("REFUSED", [])
    assert not names._domains


def test_of_two_imports_of_one_name_the_first_is_told() -> None:
    """Whichever came first, the same one answers; when it goes, the other one does."""
    one, two = import_of(name="b", address="127.96.0.1", peer="blue-mesh"), import_of(name="a", address="127.96.0.2")
    for names in (names_of(one, two), names_of(two, one)):
        assert ask(names) == ("NOERROR", ["127.96.0.1"])
        change(names, one, None)
        assert ask(names) == ("NOERROR", ["127.96.0.2"])
        change(names, two, None)
        assert ask(names) == ("REFUSED", [])


@pytest.mark.parametrize(
    "service",
    [
        Service(),
        import_of(""),
        import_of(address=None),
        import_of(address=""),
        import_of(address="None"),
        import_of("a..b"),
        import_of("x" * 64 + ".bookinfo.svc.green-mesh-imports.local"),
        import_of(".".join(["x" * 60] * 5)),
        import_of("\\"),
    ],
)
def test_a_service_without_a_usable_name_is_left_out(service: Service) -> None:
    """What has no address, or a name that DNS cannot hold, breaks nothing and is not answered for."""
    names = names_of(import_of())
    names.service_changed(Change(ObjectKey("a", "b"), None, service))
    names.service_changed(Change(ObjectKey("a", "b"), service, None))
    assert ask(names) == ("NOERROR", ["127.96.0.7"])


def test_names_of_the_cluster_stay_the_clusters() -> None:
    """An import under a local name is resolved by the cluster itself; its domain is not ours to deny names in."""
    local = import_of("ratings.red-mesh-system.svc.cluster.local", name="ratings")
    assert ask(names_of(local), "kubernetes.default.svc.cluster.local") == ("REFUSED", [])


def test_names_in_a_store_are_followed() -> None:
    """Subscribed to a store of Services, the names are those of its imports."""
    store: Store[Service] = Store()
    names = ImportNames()
    store.subscribe(names.service_changed)
    store.put(import_of())
    assert ask(names) == ("NOERROR", ["127.96.0.7"])
    store.remove(ObjectKey("red-mesh-system", "import-1"))
    assert ask(names) == ("REFUSED", [])


def test_other_operations_are_not_implemented() -> None:
    """An update, a notification and the like are answered as such."""
    query = dns.message.make_query(RATINGS, "SOA")
    query.set_opcode(dns.opcode.NOTIFY)
    answer = dns.message.from_wire(names_of().answer(query.to_wire()) or b"")
    assert answer.rcode() == dns.rcode.NOTIMP


@given(st.binary(max_size=80))
def test_any_bytes_are_survived(wire: bytes) -> None:
    """Whatever comes, the answer is none or a response."""
    _check_answer(wire, names_of(import_of()).answer(wire))


QUERY = dns.message.make_query(RATINGS, "A", use_edns=0).to_wire()


@given(st.integers(0, len(QUERY) - 1), st.integers(0, 255), st.integers(0, len(QUERY)))
def test_any_damage_is_survived(position: int, value: int, length: int) -> None:
    """A query with a byte changed, or cut off, is answered as what it is, or not at all."""
    wire = bytearray(QUERY)
    wire[position] = value
    damaged = bytes(wire[:length])
    _check_answer(damaged, names_of(import_of()).answer(damaged))


def _check_answer(wire: bytes, answer: bytes | None) -> None:
    if answer is not None:
        assert answer[:2] == wire[:2]
        assert dns.message.from_wire(answer).flags & dns.flags.QR


def test_responses_are_not_answered() -> None:
    """Two servers that answer each other's answers would never end."""
    response = dns.message.make_response(dns.message.make_query(RATINGS, "A"))
    assert names_of(import_of()).answer(response.to_wire()) is None


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(names: ImportNames) -> AsyncIterator[int]:
    """The server at a port of its own."""
    port = _free_port()
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(NamesServer(names, host=HOST, port=port).run(started))
        await started
        yield port
        task.cancel()


Loop = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    """Runs something in a loop of its own, of either kind."""

    def run(work: Callable[[], Awaitable[None]]) -> None:
        async def within_time() -> None:
            async with asyncio.timeout(10):
                await work()

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(within_time())

    return run


def test_udp_and_tcp(loop: Loop) -> None:
    """The same names are served over both, to several clients at once."""

    async def work() -> None:
        async with serving(names_of(import_of())) as port:
            query = dns.message.make_query(RATINGS, "A")
            for send in (dns.asyncquery.udp, dns.asyncquery.tcp):
                answer = await send(query, HOST, port=port, timeout=5)
                assert [item.to_text() for item in answer.answer[0]] == ["127.96.0.7"]

    loop(work)


def test_datagrams_that_are_no_queries_are_dropped(loop: Loop) -> None:
    """What cannot be read is not answered, and the server goes on."""

    async def work() -> None:
        async with serving(names_of(import_of())) as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect((HOST, port))
                for wire in (b"", b"\0", b"x" * 600):
                    client.send(wire)
            answer = await dns.asyncquery.udp(dns.message.make_query(RATINGS, "A"), HOST, port=port, timeout=5)
            assert answer.rcode() == dns.rcode.NOERROR

    loop(work)


def _framed(message: dns.message.Message) -> bytes:
    wire = message.to_wire()
    return len(wire).to_bytes(2, "big") + wire


async def _read(reader: asyncio.StreamReader) -> dns.message.Message:
    length = int.from_bytes(await reader.readexactly(2), "big")
    return dns.message.from_wire(await reader.readexactly(length))


def test_queries_may_follow_each_other_on_one_connection(loop: Loop) -> None:
    """A client that sends many queries before it reads gets as many answers, in order (RFC 7766 §6.2.1.1)."""

    async def work() -> None:
        async with serving(names_of(import_of())) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            queries = [dns.message.make_query(RATINGS, "A", id=number) for number in range(50)]
            writer.write(b"".join(map(_framed, queries)))
            for query in queries:
                assert query.is_response(await _read(reader))
            writer.close()

    loop(work)


@pytest.mark.parametrize("wire", [b"\0\0", b"\0\2\0\0", b"\0\14" + b"\xff" * 12], ids=["empty", "short", "a response"])
def test_a_connection_with_nonsense_is_closed(loop: Loop, wire: bytes) -> None:
    """A client whose framing is off cannot be understood from then on."""

    async def work() -> None:
        async with serving(names_of(import_of())) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(wire)
            assert await reader.read() == b""
            writer.close()

    loop(work)


def test_clients_are_limited(loop: Loop) -> None:
    """While as many clients are connected as may be, another one is turned away; when one has left, it is served."""

    async def work() -> None:
        async with serving(names_of(import_of())) as port:
            query = _framed(dns.message.make_query(RATINGS, "A"))
            clients = [await asyncio.open_connection(HOST, port) for _ in range(MAX_TCP_CLIENTS)]
            for reader, writer in clients:
                writer.write(query)
                await _read(reader)
            reader, writer = await asyncio.open_connection(HOST, port)
            assert await reader.read() == b""
            writer.close()
            clients.pop()[1].close()
            await _served(port, query)
            for _, writer in clients:
                writer.close()

    loop(work)


async def _served(port: int, query: bytes) -> None:
    """Try until a client is served."""
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(query)
            await _read(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            continue
        else:
            return
        finally:
            writer.close()


def test_an_address_that_is_taken_is_told(loop: Loop) -> None:
    """Whoever waits for the start learns why there is none, whichever of the two ports is taken."""

    async def work() -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind((HOST, 0))
                if kind == socket.SOCK_STREAM:
                    taken.listen()
                started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                server = NamesServer(names_of(), host=HOST, port=taken.getsockname()[1])
                with pytest.raises(OSError, match="ddress already in use"):
                    await server.run(started)
                with pytest.raises(OSError, match="ddress already in use"):
                    await started

    loop(work)
