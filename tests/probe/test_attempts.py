"""What a probe tells of each thing that can be wrong on the way to a peer; every server here is real."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace as replace_fields
from tests.black_hole import black_hole
from tests.identity.corpus import BROKEN_LEAVES, CA, P384, Recipe
from tests.probe import peer
from tests.probe.peer import (
    OK,
    PEER,
    SERVER,
    SERVER_NAME,
    THEIR_INGRESS,
    GreenCa,
    Handler,
    Us,
    answering,
    current,
    greeting,
    listening,
    order,
    refusing,
    serving,
    silent,
)

from isthmus.federation.findings import Attempt, Fault, Step
from isthmus.probe import BadOrderError, ProbeOrder

DAY = timedelta(days=1)


@pytest.fixture
def us() -> Us:
    return Us()


@pytest.fixture
def green() -> GreenCa:
    return GreenCa()


async def only_attempt(us: Us, asked: ProbeOrder) -> Attempt:
    """The probe's attempt, of which there must be one."""
    (attempt,) = (await us.prober.probe(asked)).attempts
    return attempt


async def test_a_peer_that_answers(us: Us, green: GreenCa) -> None:
    """Every step is reached, each has its figure, the certificate is told, and the request is what a peer expects."""
    requests: list[bytes] = []
    certificate = green.sign(current(SERVER))
    context = serving([certificate], clients=us.bundle)
    async with listening(answering(OK, requests=requests), context) as port:
        report = await us.prober.probe(order(green, port, identities=[THEIR_INGRESS]))
    (attempt,) = report.attempts
    assert (attempt.reached, attempt.fault, attempt.status) == (Step.ANSWER, None, 200)
    assert (attempt.address, attempt.host, attempt.port) == (PEER, PEER, port)
    assert None not in {attempt.resolve_ms, attempt.connect_ms, attempt.handshake_ms, attempt.answer_ms}
    assert attempt.certificate is not None
    assert attempt.certificate.uris == (THEIR_INGRESS,)
    assert attempt.certificate.not_after == certificate.not_valid_after_utc
    assert report.pod == "egress-0"
    assert report.clock_offset_s is None
    assert requests[0].startswith(f"GET /v1/peer HTTP/1.1\r\nhost: {SERVER_NAME}\r\n".encode())


async def test_the_peer_sees_our_pod_and_what_envoy_would_offer(us: Us, green: GreenCa) -> None:
    """The call comes from the pod's own address, asks for the name, and offers the protocols that Envoy offers."""
    seen: list[object] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        tls = writer.get_extra_info("ssl_object")
        seen.extend([writer.get_extra_info("peername")[0], tls.selected_alpn_protocol()])
        writer.write(OK)

    context = serving([green.sign(current(SERVER))], clients=us.bundle)
    context.set_alpn_protocols(["istio"])
    context.sni_callback = lambda _, name, __: seen.append(name)
    async with listening(look, context) as port:
        await only_attempt(us, order(green, port))
    assert seen == [SERVER_NAME, peer.POD, "istio"]


@pytest.mark.parametrize("ahead_s", [0, 400, -400])
async def test_the_clock_of_a_peer(us: Us, green: GreenCa, ahead_s: int) -> None:
    """What the peer says of the time becomes how far its clock is ahead."""
    told = (peer.now() + timedelta(seconds=ahead_s)).timestamp()
    answer = f"HTTP/1.1 200 OK\r\nisthmus-time: {told}\r\ncontent-length: 0\r\n\r\n".encode()
    async with listening(answering(answer), serving([green.sign(current(SERVER))])) as port:
        report = await us.prober.probe(order(green, port))
    assert report.clock_offset_s == pytest.approx(ahead_s, abs=2)


@pytest.mark.parametrize("said", ["noon", "nan", "1e300", ""])
async def test_a_time_that_is_none_is_left_out(us: Us, green: GreenCa, said: str) -> None:
    """Nonsense in the header is no clock, and no failure."""
    answer = f"HTTP/1.1 200 OK\r\nisthmus-time: {said}\r\ncontent-length: 0\r\n\r\n".encode()
    async with listening(answering(answer), serving([green.sign(current(SERVER))])) as port:
        report = await us.prober.probe(order(green, port))
    assert report.clock_offset_s is None
    assert report.attempts[0].fault is None


def other_mesh() -> GreenCa:
    """A CA of the same name with another key."""
    return GreenCa(root=replace(current(peer.GREEN_ROOT), key=P384).self_signed())


SHOWN: dict[str, tuple[Recipe, Fault, str]] = {
    "another trust domain": (
        replace(SERVER, uris=("spiffe://blue.local/ns/a/sa/b",)),
        Fault.WRONG_TRUST_DOMAIN,
        "expected one of trust domain green-mesh.local",
    ),
    "another identity": (
        replace(SERVER, uris=("spiffe://green-mesh.local/ns/a/sa/b",)),
        Fault.WRONG_IDENTITY,
        f"expected {THEIR_INGRESS}",
    ),
    **{name: (recipe, Fault.NO_IDENTITY, said) for name, (recipe, said) in BROKEN_LEAVES.items()},
}


@pytest.mark.parametrize("name", SHOWN)
async def test_a_certificate_that_is_not_the_peers(us: Us, green: GreenCa, name: str) -> None:
    """Nothing is asked of the server; its certificate is told, and what is wrong with it."""
    recipe, fault, said = SHOWN[name]
    requests: list[bytes] = []
    context = serving([green.sign(current(recipe))])
    async with listening(answering(OK, requests=requests), context) as port:
        attempt = await only_attempt(us, order(green, port, identities=[THEIR_INGRESS]))
    assert (attempt.reached, attempt.fault) == (Step.HANDSHAKE, fault)
    assert said in attempt.detail
    assert attempt.certificate is not None
    assert requests == []


async def test_a_certificate_under_an_unknown_root(us: Us, green: GreenCa) -> None:
    """The right name under a root of the same name, whose key is another."""
    certificate = current(SERVER).signed_by("green root", P384)
    async with listening(answering(OK), serving([certificate])) as port:
        attempt = await only_attempt(us, order(green, port))
    assert (attempt.reached, attempt.fault) == (Step.HANDSHAKE, Fault.UNKNOWN_ROOT)
    assert "did not sign it" in attempt.detail


@pytest.mark.parametrize(
    ("begins", "ends", "fault"), [(-3 * DAY, -DAY, Fault.EXPIRED), (DAY, 3 * DAY, Fault.NOT_YET_VALID)]
)
async def test_a_certificate_out_of_its_time(
    us: Us, green: GreenCa, begins: timedelta, ends: timedelta, fault: Fault
) -> None:
    """Expired and not yet valid are told apart."""
    recipe = replace(SERVER, not_before=peer.now() + begins, not_after=peer.now() + ends)
    async with listening(answering(OK), serving([green.sign(recipe)])) as port:
        attempt = await only_attempt(us, order(green, port))
    assert (attempt.reached, attempt.fault) == (Step.HANDSHAKE, fault)


async def test_an_intermediate_is_found_in_what_the_server_sends(us: Us, green: GreenCa) -> None:
    """A leaf under an intermediate CA is trusted if the server sends that CA, and is not without it."""
    intermediate = green.sign(current(replace(CA, subject="between", key=P384)))
    leaf = current(SERVER).signed_by("between", P384)
    faults = []
    for chain in ([leaf, intermediate], [leaf]):
        async with listening(answering(OK), serving(chain)) as port:
            faults.append((await only_attempt(us, order(green, port))).fault)
    assert faults == [None, Fault.UNKNOWN_ROOT]


@pytest.mark.parametrize(
    ("version", "reached"), [(ssl.TLSVersion.TLSv1_2, Step.CONNECT), (ssl.TLSVersion.TLSv1_3, Step.TRUST)]
)
async def test_a_peer_that_does_not_know_our_root(
    us: Us, green: GreenCa, version: ssl.TLSVersion, reached: Step
) -> None:
    """They refuse our certificate: in TLS 1.2 within the handshake, in TLS 1.3 in place of the answer."""
    context = serving([green.sign(current(SERVER))], clients=green.bundle)
    context.maximum_version = version
    with refusing(context) as port:
        attempt = await only_attempt(us, order(green, port))
    assert (attempt.reached, attempt.fault) == (reached, Fault.CERTIFICATE_REFUSED)
    assert "unknown_ca" in attempt.detail


ANSWERS: dict[str, tuple[Handler, Fault, str, int]] = {
    "403": (answering(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"), Fault.STATUS, "403 Forbidden", 403),
    "not HTTP": (answering(b"SSH-2.0-server\r\n\r\n"), Fault.PROTOCOL, "not HTTP", 0),
    "nothing": (answering(b""), Fault.CLOSED, "closed in place of an answer", 0),
    "endless head": (answering(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), Fault.PROTOCOL, "not HTTP", 0),
    "silence": (silent, Fault.TIMED_OUT, "no answer within", 0),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_trusted_peer_that_does_not_answer_as_it_should(us: Us, green: GreenCa, name: str) -> None:
    """Its certificate is accepted; what came instead of an answer is told."""
    handler, fault, said, status = ANSWERS[name]
    async with listening(handler, serving([green.sign(current(SERVER))])) as port:
        attempt = await only_attempt(us, order(green, port, timeout_s=0.5))
    assert (attempt.reached, attempt.fault, attempt.status) == (Step.TRUST, fault, status)
    assert said in attempt.detail


NOT_TLS: dict[str, tuple[Handler, Fault, str]] = {
    "speaks first": (greeting(b"SSH-2.0-server\r\n"), Fault.NOT_TLS, "SSH-2.0-server"),
    "HTTP in plain text": (greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Fault.NOT_TLS, "HTTP/1.1 400"),
    "closes": (greeting(b""), Fault.CLOSED, "connection"),
    "an alert": (greeting(bytes.fromhex("15030300020228")), Fault.TLS_FAILED, "handshake_failure"),
    "half a record": (greeting(bytes.fromhex("160303")), Fault.CLOSED, "connection"),
    "waits": (silent, Fault.TIMED_OUT, "no answer within 0.5 s"),
}


@pytest.mark.parametrize("name", NOT_TLS)
async def test_something_else_answers(us: Us, green: GreenCa, name: str) -> None:
    """A connection stands and no certificate is shown."""
    handler, fault, said = NOT_TLS[name]
    async with listening(handler) as port:
        attempt = await only_attempt(us, order(green, port, timeout_s=0.5))
    assert (attempt.reached, attempt.fault) == (Step.CONNECT, fault)
    assert said in attempt.detail
    assert attempt.certificate is None


async def test_nobody_listens(us: Us, green: GreenCa) -> None:
    """The system says at once that the connection is refused."""
    attempt = await only_attempt(us, order(green, 1))
    assert (attempt.reached, attempt.fault, attempt.detail) == (Step.RESOLVE, Fault.REFUSED, "connection refused")


async def test_no_route(us: Us, green: GreenCa) -> None:
    """An address that this pod has no way to is told from a silent one."""
    attempt = await only_attempt(us, order(green, 1, "203.0.113.1"))
    assert (attempt.reached, attempt.fault) == (Step.RESOLVE, Fault.REFUSED)


async def test_a_black_hole(us: Us, green: GreenCa) -> None:
    """No answer to the first packet: it takes the time that the order allows, and no longer."""
    with black_hole(PEER) as port:
        attempt = await only_attempt(us, order(green, port, timeout_s=0.5))
    assert (attempt.reached, attempt.fault) == (Step.RESOLVE, Fault.TIMED_OUT)


async def test_every_address_is_tried_at_once(us: Us, green: GreenCa) -> None:
    """Of several addresses each has its attempt, and the slowest decides how long it takes."""
    context = serving([green.sign(current(SERVER))])
    async with listening(answering(OK), context) as port:
        report = await us.prober.probe(order(green, port, PEER, "no-such-name.invalid", "127.83.0.3"))
    found = {attempt.address: (attempt.reached, attempt.fault) for attempt in report.attempts}
    assert found == {
        PEER: (Step.ANSWER, None),
        "no-such-name.invalid": (None, Fault.NOT_RESOLVED),
        "127.83.0.3": (Step.RESOLVE, Fault.REFUSED),
    }


BAD_ORDERS: dict[str, Callable[[ProbeOrder], ProbeOrder]] = {
    "roots": lambda asked: replace_fields(asked, roots="none"),
    "trust domain": lambda asked: replace_fields(asked, trust_domain="Green"),
    "identities": lambda asked: replace_fields(asked, identities=("green",)),
    "server name": lambda asked: replace_fields(asked, server_name="outbound_.1_._.nobody.svc..local"),
    "long label": lambda asked: replace_fields(asked, server_name=f"outbound_.1_._.{'x' * 64}.local"),
}


@pytest.mark.parametrize("name", BAD_ORDERS)
async def test_an_order_that_does_not_say_who_must_answer(us: Us, green: GreenCa, name: str) -> None:
    """Without a server name, a root, a trust domain and identities that can be used nobody is called."""
    with pytest.raises(BadOrderError, match="does not say who must answer"):
        await us.prober.probe(BAD_ORDERS[name](order(green, 1)))


@pytest.mark.parametrize("handler", [silent, greeting(b"")], ids=["waits", "closes"])
async def test_an_order_to_ask_for_nothing(us: Us, green: GreenCa, handler: Handler) -> None:
    """The certificate is judged and nothing is sent; a server that waits is as good as one that closes."""
    context = serving([green.sign(current(SERVER))], clients=us.bundle)
    async with listening(handler, context) as port:
        attempt = await only_attempt(us, msgspec.structs.replace(order(green, port), path=""))
    assert (attempt.reached, attempt.fault) == (Step.TRUST, None)


async def test_a_refusal_is_waited_for_though_nothing_is_asked(us: Us, green: GreenCa) -> None:
    """In TLS 1.3 the alert comes after the handshake."""
    with refusing(serving([green.sign(current(SERVER))], clients=green.bundle)) as port:
        attempt = await only_attempt(us, msgspec.structs.replace(order(green, port), path=""))
    assert attempt.fault is Fault.CERTIFICATE_REFUSED
