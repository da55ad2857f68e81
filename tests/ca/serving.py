"""A certificate service as a mesh runs it, for tests: real TLS, real gRPC, tokens signed with a key of the test."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from isthmus.ca import (
    CertificateClient,
    CertificateService,
    ServiceAccountIdentity,
    TokenRefusedError,
    channel_target,
    server_credentials,
)
from isthmus.identity import Authority, SpiffeId, TrustDomain, X509Svid

RED = TrustDomain("red-mesh.local")
PILOT = SpiffeId.service_account(RED, namespace="red-mesh-system", account="istiod-red-mesh")
EGRESS = SpiffeId.service_account(RED, namespace="red-mesh-system", account="egress-green-mesh-service-account")
SERVER_NAME = "istiod-red-mesh.red-mesh-system.svc"
AUDIENCE = "istio-ca"


def moment() -> datetime:
    """Now; certificates are checked by TLS libraries that look at the clock themselves."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class SignedTokens:
    """Makes service account tokens and, as an ``Authenticator``, checks them."""

    key: bytes = b"the cluster's signing key"

    def token(self, namespace: str, name: str, *, audience: str = AUDIENCE) -> str:
        """A token for a service account."""
        claims = urlsafe_b64encode(json.dumps({"ns": namespace, "sa": name, "aud": audience}).encode())
        return f"{claims.decode()}.{self._signature(claims)}"

    async def authenticate(self, token: str) -> ServiceAccountIdentity:
        """Check signature and audience."""
        claims, _, signature = token.encode(errors="replace").partition(b".")
        if not hmac.compare_digest(self._signature(claims).encode(), signature):
            raise TokenRefusedError("its signature is not of this cluster")
        said = json.loads(urlsafe_b64decode(claims))
        if said["aud"] != AUDIENCE:
            raise TokenRefusedError(f"it was issued for the audience {said['aud']!r}")
        return ServiceAccountIdentity(namespace=said["ns"], name=said["sa"])

    def _signature(self, claims: bytes) -> str:
        return hmac.new(self.key, claims, hashlib.sha256).hexdigest()


@dataclass
class Mesh:
    """What the certificate service of a mesh serves with; each part can be changed while it serves."""

    authority: Authority = field(default_factory=lambda: Authority.self_signed(RED, now=moment()))
    tokens: SignedTokens = field(default_factory=SignedTokens)
    dns_names: tuple[str, ...] = (SERVER_NAME,)
    lifetime: timedelta = timedelta(hours=1)

    def svid(self, identity: SpiffeId) -> X509Svid:
        """A certificate of the mesh, for an hour, with the pilot's DNS names."""
        return self.authority.issue_svid(identity, lifetime=timedelta(hours=1), now=moment(), dns_names=self.dns_names)

    def pilot_svid(self) -> X509Svid:
        """The pilot's serving certificate."""
        return self.svid(PILOT)

    def service(self) -> CertificateService:
        """The service itself."""
        return CertificateService(lambda: self.authority, self.tokens, trust_domain=RED, lifetime=self.lifetime)

    @asynccontextmanager
    async def serve(self, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        """Serve over TLS; gives the port."""
        async with serving(self.service().handlers(), self.pilot_svid, address=f"{address}:{port}") as bound:
            yield bound


@asynccontextmanager
async def serving(
    handlers: grpc.GenericRpcHandler,
    svid: Callable[[], X509Svid],
    *,
    address: str = "127.0.0.1:0",
    client_roots: Callable[[], bytes] | None = None,
) -> AsyncIterator[int]:
    """Any service over TLS."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_secure_port(address, server_credentials(svid, client_roots=client_roots))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=None)


def client_of(mesh: Mesh, directory: Path, port: int, *, host: str = "127.0.0.1") -> CertificateClient:
    """A client with the files of a pod of the egress gateway."""
    root_path, token_path = directory / "root-cert.pem", directory / "token"
    root_path.write_bytes(mesh.authority.root_cert_pem)
    token_path.write_text(mesh.tokens.token("red-mesh-system", "egress-green-mesh-service-account"))
    return CertificateClient(
        target=channel_target(host, port), server_name=SERVER_NAME, root_path=root_path, token_path=token_path
    )
