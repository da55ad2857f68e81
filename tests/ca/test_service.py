"""The certificate service and its client, against each other over real TLS."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs
from tests.ca.naming import one_name
from tests.ca.serving import EGRESS, PILOT, RED, SERVER_NAME, Mesh, SignedTokens, client_of, moment, serving
from tests.identity.corpus import CA, DAY, OTHER_P256, P256, P384

from isthmus.ca import (
    CertificateClient,
    RefusedError,
    ServiceAccountIdentity,
    TokenReviewUnavailableError,
    UnavailableError,
    UnusableError,
    channel_target,
)
from isthmus.ca.messages import CREATE_CERTIFICATE, CertificateRequest, CertificateResponse
from isthmus.ca.service import MAX_CALLS_IN_PROGRESS, CertificateService
from isthmus.identity import (
    Authority,
    SpiffeId,
    certificates_of,
    certificates_pem,
    new_private_key,
    path_to_root,
    signing_request,
    spiffe_id_of,
)
from isthmus.identity.pem import private_key_pem


async def raw_call(mesh: Mesh, port: int, request: bytes, **metadata: str) -> CertificateResponse:
    """One call as any client may make it."""
    credentials = grpc.ssl_channel_credentials(mesh.authority.root_cert_pem)
    options = (("grpc.ssl_target_name_override", SERVER_NAME),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CREATE_CERTIFICATE)
        return CertificateResponse.from_wire(await call(request, timeout=5, metadata=tuple(metadata.items())))


def bearer(mesh: Mesh) -> str:
    """The header's value for the egress gateway."""
    return "Bearer " + mesh.tokens.token("red-mesh-system", "egress-green-mesh-service-account")


async def test_a_token_becomes_an_svid(tmp_path: Path) -> None:
    """With its token a workload gets a certificate for its service account, under the mesh's root."""
    mesh = Mesh()
    async with mesh.serve() as port:
        svid = await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())
    assert svid.spiffe_id == EGRESS
    assert path_to_root(svid.leaf, intermediates=svid.chain[1:], roots=mesh.authority.roots, now=moment())


async def test_each_certificate_has_a_key_of_its_own(tmp_path: Path) -> None:
    """A renewal never uses a key again."""
    mesh = Mesh()
    async with mesh.serve() as port:
        client = client_of(mesh, tmp_path, port)
        first, second = [await client.request_svid(EGRESS, now=moment()) for _ in range(2)]
    assert first.leaf.public_key() != second.leaf.public_key()


async def test_the_identity_comes_from_the_token_alone() -> None:
    """A request that names somebody else gets a certificate for the token's service account."""
    mesh = Mesh()
    csr = signing_request(new_private_key(), SpiffeId.parse("spiffe://red-mesh.local/ns/kube-system/sa/admin"))
    async with mesh.serve() as port:
        response = await raw_call(mesh, port, CertificateRequest(csr.decode()).to_wire(), authorization=bearer(mesh))
    assert spiffe_id_of(certificates_of(response.cert_chain[0])[0]) == EGRESS


def ca_with_intermediates() -> Authority:
    """Root, intermediate, CA."""
    now = moment()
    recipe = replace(CA, not_before=now - DAY, not_after=now + DAY)
    root = replace(recipe, key=P384).self_signed()
    middle = replace(recipe, subject="middle", key=OTHER_P256).signed_by("root", P384)
    ca = replace(recipe, subject="ca").signed_by("middle", OTHER_P256)
    return Authority.load(
        ca_cert=certificates_pem([ca]),
        ca_key=private_key_pem(P256),
        cert_chain=certificates_pem([ca, middle, root]),
        root_cert=certificates_pem([root]),
        now=now,
    )


async def test_the_answer_is_leaf_intermediates_and_root_last(tmp_path: Path) -> None:
    """Elements of ``cert_chain``: one certificate each, from the leaf up, the root as the last."""
    mesh = Mesh(authority=ca_with_intermediates())
    csr = signing_request(new_private_key(), EGRESS).decode()
    async with mesh.serve() as port:
        response = await raw_call(mesh, port, CertificateRequest(csr).to_wire(), authorization=bearer(mesh))
        svid = await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())
    subjects = [certificates_of(element)[0].subject.rfc4514_string() for element in response.cert_chain]
    assert subjects == ["", "CN=ca", "CN=middle", "CN=root"]
    assert [one.subject.rfc4514_string() for one in svid.chain] == ["", "CN=ca", "CN=middle"]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param(timedelta(), timedelta(hours=1), id="nothing asked"),
        pytest.param(timedelta(minutes=10), timedelta(minutes=10), id="less"),
        pytest.param(timedelta(days=9), timedelta(hours=1), id="more than allowed"),
    ],
)
async def test_a_lifetime_is_granted_up_to_the_services_own(tmp_path: Path, asked: timedelta, given: timedelta) -> None:
    """What is asked for is given, but never more than the service's lifetime."""
    mesh = Mesh()
    async with mesh.serve() as port:
        now = moment()
        svid = await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=now, lifetime=asked)
    assert timedelta(seconds=-1) <= svid.leaf.not_valid_after_utc - now - given < timedelta(seconds=10)


REQUEST = CertificateRequest(signing_request(P256, EGRESS).decode()).to_wire()


@pytest.mark.parametrize(
    ("authorization", "request_", "code", "said"),
    [
        pytest.param("", REQUEST, "UNAUTHENTICATED", "no token", id="no token"),
        pytest.param("Basic eDp5", REQUEST, "UNAUTHENTICATED", "no token", id="another scheme"),
        pytest.param("Bearer ", REQUEST, "UNAUTHENTICATED", "0 bytes", id="empty token"),
        pytest.param("Bearer secret", REQUEST, "UNAUTHENTICATED", "signature", id="forged token"),
        pytest.param("Bearer " + "x" * 17000, REQUEST, "RESOURCE_EXHAUSTED", "", id="endless token"),
        pytest.param(None, b"\x0a\xff", "INVALID_ARGUMENT", "not a message", id="no message"),
        pytest.param(None, b"", "INVALID_ARGUMENT", "not a PEM certificate signing", id="no CSR"),
        pytest.param(None, b"\x0a\x81\x80\x04" + b"x" * 65537, "INVALID_ARGUMENT", "bytes long", id="endless CSR"),
        pytest.param(None, REQUEST + b"\x18" + b"\xff" * 9 + b"\x01", "INVALID_ARGUMENT", "positive", id="lifetime"),
    ],
)
async def test_what_is_wrong_with_a_call_is_said_in_one_line(
    authorization: str | None, request_: bytes, code: str, said: str
) -> None:
    """The status says who can change it, the message what; neither it nor the log holds the token."""
    mesh = Mesh()
    async with mesh.serve() as port:
        with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw_call(mesh, port, request_, authorization=bearer(mesh) if authorization is None else authorization)
    assert caught.value.code().name == code
    assert said in str(caught.value.details())
    assert "secret" not in f"{caught.value.details()} {logs}"


async def test_a_token_for_another_audience_is_refused(tmp_path: Path) -> None:
    """The client is told what the authenticator said."""
    mesh = Mesh()
    async with mesh.serve() as port:
        client = client_of(mesh, tmp_path, port)
        client.token_path.write_text(mesh.tokens.token("red-mesh-system", "egress", audience="elsewhere"))
        with pytest.raises(RefusedError, match="issued for the audience 'elsewhere'"):
            await client.request_svid(EGRESS, now=moment())


async def test_an_svid_for_another_identity_is_not_used(tmp_path: Path) -> None:
    """A pod that runs under another service account than its own name says so, before Envoy fails with it."""
    mesh = Mesh()
    async with mesh.serve() as port:
        with pytest.raises(UnusableError, match=r"sa/egress-green-mesh-service-account, expected .*sa/other"):
            await client_of(mesh, tmp_path, port).request_svid(
                SpiffeId.service_account(RED, namespace="red-mesh-system", account="other"), now=moment()
            )


async def test_a_service_of_another_root_is_not_spoken_to(tmp_path: Path) -> None:
    """The service's certificate must be under the root in the file: the token is not sent otherwise."""
    mesh, stranger = Mesh(), Mesh()
    async with stranger.serve() as port:
        with capture_logs() as logs, pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())
    assert logs == []


async def test_a_service_of_another_name_is_not_spoken_to(tmp_path: Path) -> None:
    """Another workload of the mesh cannot pose as the pilot."""
    mesh = Mesh(dns_names=("istiod-green-mesh.green-mesh-system.svc",))
    async with mesh.serve() as port:
        with pytest.raises(UnavailableError, match="Hostname Verification Check failed"):
            await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())


async def test_an_issuer_of_another_root_is_told_apart(tmp_path: Path) -> None:
    """While the CA's root is not yet in the file, what it issues is not used, and the message says why."""
    mesh, new = Mesh(), Mesh()
    service = CertificateService(lambda: new.authority, mesh.tokens, trust_domain=RED)
    async with serving(service.handlers(), mesh.pilot_svid) as port:
        with pytest.raises(UnusableError, match="does not reach the root"):
            await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())


async def test_a_ca_past_its_time_says_so(tmp_path: Path) -> None:
    """The message of the one who cannot issue reaches the one who asks."""
    mesh = Mesh()
    old = Authority.self_signed(RED, now=moment() - 2 * DAY, lifetime=DAY)
    service = CertificateService(lambda: old, mesh.tokens, trust_domain=RED)
    async with serving(service.handlers(), mesh.pilot_svid) as port:
        with pytest.raises(UnavailableError, match="the CA's certificate expired at"):
            await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())


class Unavailable:
    """An ``Authenticator`` whose cluster does not answer."""

    async def authenticate(self, token: str) -> ServiceAccountIdentity:
        raise TokenReviewUnavailableError(f"the API server does not answer (asked with {len(token)} bytes)")


async def test_a_token_that_cannot_be_checked_is_not_refused(tmp_path: Path) -> None:
    """If the cluster cannot say, the client may try again."""
    mesh = Mesh()
    service = CertificateService(lambda: mesh.authority, Unavailable(), trust_domain=RED)
    async with serving(service.handlers(), mesh.pilot_svid) as port:
        with pytest.raises(UnavailableError, match="could not be checked: the API server does not answer"):
            await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())


class Slow:
    """An ``Authenticator`` that answers when it is told to."""

    def __init__(self, tokens: SignedTokens) -> None:
        self.tokens = tokens
        self.go_on = asyncio.Event()
        self.waiting = 0

    async def authenticate(self, token: str) -> ServiceAccountIdentity:
        self.waiting += 1
        await self.go_on.wait()
        return await self.tokens.authenticate(token)


async def test_too_many_calls_at_once_are_put_off(tmp_path: Path) -> None:
    """Beyond the limit a call ends at once, and those in progress are served."""
    mesh = Mesh()
    slow = Slow(mesh.tokens)
    service = CertificateService(lambda: mesh.authority, slow, trust_domain=RED)
    async with serving(service.handlers(), mesh.pilot_svid) as port, asyncio.TaskGroup() as tasks:
        client = client_of(mesh, tmp_path, port)
        waiting = [tasks.create_task(client.request_svid(EGRESS, now=moment())) for _ in range(MAX_CALLS_IN_PROGRESS)]
        while slow.waiting < MAX_CALLS_IN_PROGRESS:
            await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError, match="RESOURCE_EXHAUSTED"):
            await client.request_svid(EGRESS, now=moment())
        slow.go_on.set()
    assert {task.result().spiffe_id for task in waiting} == {EGRESS}


async def test_a_new_ca_takes_effect_without_a_restart(tmp_path: Path) -> None:
    """Serving certificate and issuer follow the authority; a client with the new root is served."""
    mesh = Mesh()
    async with mesh.serve() as port:
        await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())
        mesh.authority = Authority.self_signed(RED, now=moment())
        svid = await client_of(mesh, tmp_path, port).request_svid(EGRESS, now=moment())
    assert path_to_root(svid.leaf, intermediates=(), roots=mesh.authority.roots, now=moment())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda client: client.token_path.unlink(), "service account token at", id="no token"),
        pytest.param(lambda client: client.token_path.write_text("\n"), "the file is empty", id="empty token"),
        pytest.param(lambda client: client.root_path.unlink(), "root certificate at", id="no root"),
    ],
)
async def test_a_missing_file_is_named(tmp_path: Path, spoil: Callable[[CertificateClient], None], said: str) -> None:
    """Which file cannot be read, and why."""
    client = client_of(Mesh(), tmp_path, 1)
    spoil(client)
    with pytest.raises(UnavailableError, match=said):
        await client.request_svid(EGRESS, now=moment())


async def test_nobody_at_the_address_is_unavailable(tmp_path: Path) -> None:
    """The message names the service and the address."""
    with pytest.raises(UnavailableError, match=r"istiod-red-mesh\.red-mesh-system\.svc at dns:///127\.0\.0\.1:1 "):
        await client_of(Mesh(), tmp_path, 1).request_svid(EGRESS, now=moment())


async def test_a_dns_server_that_is_given_is_asked(tmp_path: Path) -> None:
    """``channel_target`` with a DNS server resolves the pilot's name there, and nowhere else."""
    name, mesh = "istiod-red-mesh.red-mesh-system.svc.cluster.local", Mesh()
    async with mesh.serve("127.41.0.9") as port, one_name(name, "127.41.0.9", server="127.41.0.53") as dns_server:
        client = replace(client_of(mesh, tmp_path, port), target=channel_target(name, port, dns_server=dns_server))
        assert (await client.request_svid(EGRESS, now=moment())).spiffe_id == EGRESS
        assert str(PILOT) == "spiffe://red-mesh.local/ns/red-mesh-system/sa/istiod-red-mesh"
