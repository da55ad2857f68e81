"""The joiner's call: to whom it speaks, what it understands, and whether its message may have arrived."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tests.discovery.mesh import EGRESS, HOST, INGRESS, Mesh
from tests.federation.meshes import INVITATION

from isthmus.discovery import LinkError, UnsentError, ask_inviter
from isthmus.federation.enrolment import STATUS, Answer, MalformedEnrolmentError, parse_answer
from isthmus.federation.invitation import Token
from isthmus.identity import SpiffeId

BODY = b'{"phase": "check"}'
GRANTED = b'{"reason":"Checked","message":"well"}'


@dataclass
class Gateway:
    """The inviter's ingress gateway; ``says`` is what it answers, nothing if it closes the connection instead."""

    mesh: Mesh
    port: int = 0
    status: str = "200 OK"
    says: bytes | None = GRANTED
    queue: list[bytes | None] = field(default_factory=list)
    """What it says before that, each once."""
    heard: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    def token(self, *contacts: str, mesh: Mesh | None = None) -> Token:
        """A token that leads here."""
        bundle = (mesh or self.mesh).bundle
        inviter = msgspec.structs.replace(
            INVITATION.inviter,
            root=bundle.pem().decode(),
            trust_domain=bundle.trust_domain.name,
            client_id=EGRESS.without_scheme,
            discovery_port=self.port,
        )
        invitation = msgspec.structs.replace(
            INVITATION, inviter=inviter, gateway=INGRESS.without_scheme, contacts=contacts or (HOST,)
        )
        return Token(invitation, bytes(32))

    def answers(self, *says: bytes | None) -> None:
        """Answer this to what comes, in turn, each with the status that belongs to it; None breaks the connection."""
        self.queue = list(says)

    def _next(self) -> tuple[str, bytes | None]:
        if not self.queue:
            return self.status, self.says
        says = self.queue.pop(0)
        try:
            return f"{STATUS[parse_answer(says or b'').reason]} x", says
        except MalformedEnrolmentError:
            return "503 Service Unavailable", says

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.read(64 * 1024)
        if head:
            self.heard.append(head)
            status, says = self._next()
            if says is None:
                writer.transport.abort()
                return
            length = f"content-length: {len(says)}\r\n".encode()
            writer.write(f"HTTP/1.1 {status}\r\n".encode() + length + b"\r\n" + says)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def gateway(folder: Path, identity: SpiffeId = INGRESS) -> AsyncIterator[Gateway]:
    built = Gateway(Mesh())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    svid = built.mesh.svid(identity)
    (folder / "svid.pem").write_bytes(svid.key_pem + svid.chain_pem)
    context.load_cert_chain(folder / "svid.pem")
    context.sni_callback = lambda _, name, __: built.names.append(name)
    async with await asyncio.start_server(built.serve, HOST, 0, ssl=context) as server:
        built.port = server.sockets[0].getsockname()[1]
        yield built


async def test_the_message_arrives_with_its_proof(tmp_path: Path) -> None:
    """It is posted under the server name for enrolments, and the answer is understood."""
    async with gateway(tmp_path) as inviter:
        assert await ask_inviter(inviter.token(), BODY) == Answer(reason="Checked", message="well")
        (heard,) = inviter.heard
        assert heard.startswith(b"POST /v1/enrol HTTP/1.1\r\n")
        assert heard.endswith(BODY)
        assert f"authorization: Isthmus-Enrolment-1 {INVITATION.id}.".encode() in heard
        assert bytes(32).hex().encode() not in heard
        assert inviter.names == ["enrol.red-mesh-system.svc.red-mesh.local"]


async def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    """What the inviter refuses is told as it says it."""
    async with gateway(tmp_path) as inviter:
        inviter.status, inviter.says = "409 Conflict", b'{"reason":"Used","message":"once"}'
        assert await ask_inviter(inviter.token(), BODY) == Answer(reason="Used", message="once")


async def test_nothing_is_said_to_anybody_else(tmp_path: Path) -> None:
    """A gateway under another root, or of another identity, hears nothing."""
    async with gateway(tmp_path) as inviter:
        with pytest.raises(UnsentError, match="certificate is not trusted"):
            await ask_inviter(inviter.token(mesh=Mesh()), BODY)
        assert inviter.heard == []
    async with gateway(tmp_path, identity=EGRESS) as other:
        with pytest.raises(UnsentError, match=f"is {EGRESS}, expected {INGRESS}"):
            await ask_inviter(other.token(), BODY)
        assert other.heard == []


async def test_contacts_are_tried_in_turn(tmp_path: Path) -> None:
    """Where nobody listens, or a name leads nowhere, the next is tried; if none is left, each failure is told."""
    async with gateway(tmp_path) as inviter:
        assert (await ask_inviter(inviter.token("127.77.0.99", "nowhere.invalid", HOST), BODY)).is_granted
        with pytest.raises(UnsentError, match=r"127\.77\.0\.99.*refused; .*nowhere\.invalid.*cannot be resolved"):
            await ask_inviter(inviter.token("127.77.0.99", "nowhere.invalid"), BODY)


async def test_an_answer_that_is_lost_is_told_from_a_message_that_was_not_sent(tmp_path: Path) -> None:
    """After the message has left, a broken connection says nothing about it, and no other contact is asked."""
    async with gateway(tmp_path) as inviter:
        inviter.says = None
        with pytest.raises(LinkError) as lost:
            await ask_inviter(inviter.token(HOST, HOST), BODY)
        assert not isinstance(lost.value, UnsentError)
        assert len(inviter.heard) == 1


@pytest.mark.parametrize("status", ["404 Not Found", "413 Payload Too Large", "429 Too Many Requests"])
async def test_what_the_gateway_itself_refuses_has_not_arrived(tmp_path: Path, status: str) -> None:
    """Nothing can have come of it: whoever waits for consent need not wonder."""
    async with gateway(tmp_path) as inviter:
        inviter.status, inviter.says = status, b"local"
        with pytest.raises(UnsentError, match=status):
            await ask_inviter(inviter.token(), BODY)


@pytest.mark.parametrize(
    ("status", "says", "told"),
    [
        ("503 Service Unavailable", b"no healthy upstream", "503 Service Unavailable"),
        ("200 OK", b"welcome", "200 OK"),
        ("200 OK", b'{"reason":"Used"}', "200 OK, with an answer that is 409"),
        ("403 Forbidden", GRANTED, "403 Forbidden, with an answer that is 200"),
        ("200 OK", json.dumps({"reason": "Enrolled", "message": "x" * 2000}).encode(), "200 OK"),
        ("200 OK", b"x" * 70_000, "longer than"),
    ],
)
async def test_what_is_no_answer_grants_nothing(tmp_path: Path, status: str, says: bytes, told: str) -> None:
    """Answers of somebody on the way, and nonsense, are failures that may pass."""
    async with gateway(tmp_path) as inviter:
        inviter.status, inviter.says = status, says
        with pytest.raises(LinkError, match=told):
            await ask_inviter(inviter.token(), BODY)
