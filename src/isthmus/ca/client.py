"""The client: proves itself with a service account token, and gets an SVID for a key that stays here.

Token and root are read anew for each request: the kubelet replaces both files in place.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509

from isthmus.ca.errors import CertificateError, RefusedError, UnavailableError, UnusableError
from isthmus.ca.messages import CREATE_CERTIFICATE, CertificateRequest, CertificateResponse
from isthmus.identity import (
    IdentityError,
    InvalidCertificateError,
    SpiffeId,
    X509Svid,
    certificates_of,
    new_private_key,
    path_to_root,
    signing_request,
)

CALL_TIMEOUT_S = 10.0

# What a status means to the one who asks; any other is UnavailableError.
ERRORS: dict[grpc.StatusCode, type[CertificateError]] = {
    grpc.StatusCode.UNAUTHENTICATED: RefusedError,
    grpc.StatusCode.PERMISSION_DENIED: RefusedError,
    grpc.StatusCode.INVALID_ARGUMENT: RefusedError,
    grpc.StatusCode.UNIMPLEMENTED: RefusedError,
}


def channel_target(host: str, port: int, *, dns_server: str | None = None) -> str:
    """A gRPC target for ``host``, resolved by the system, or by ``dns_server`` (``<ip>:<port>``) if that is given."""
    return f"dns://{dns_server or ''}/{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateClient:
    """Asks the certificate service at ``target`` (see ``channel_target``).

    The service is believed if its certificate is under a root in ``root_path`` and names ``server_name``, whatever
    name or address it was reached by. ``token_path`` holds the service account token for the audience ``istio-ca``.
    """

    target: str
    server_name: str
    root_path: Path
    token_path: Path

    async def request_svid(self, spiffe_id: SpiffeId, *, now: datetime, lifetime: timedelta = timedelta()) -> X509Svid:
        """A new key and the certificate that the service issued for it; zero ``lifetime`` leaves it to the service.

        Raises UnavailableError: a file cannot be read, the service is not reachable, is not the one expected, or
        cannot decide now; RefusedError: it does not accept the token or the request; UnusableError: it issued for
        another identity or key than ours, or under a root that is not in ``root_path``.
        """
        root_pem = await _read(self.root_path, "the mesh's root certificate")
        token = (await _read(self.token_path, "the service account token")).decode(errors="replace").strip()
        key = new_private_key()
        request = CertificateRequest(csr=signing_request(key, spiffe_id).decode(), validity=lifetime)
        response = await self._call(request, token=token, root_pem=root_pem)
        try:
            chain = _chain(response, root_pem=root_pem, now=now)
            svid = X509Svid(private_key=key, chain=chain)
        except IdentityError as error:
            raise UnusableError(f"{self._what} issued a certificate that cannot be used: {error}") from error
        if svid.spiffe_id != spiffe_id:
            raise UnusableError(f"{self._what} issued a certificate for {svid.spiffe_id}, expected {spiffe_id}")
        return svid

    @property
    def _what(self) -> str:
        return f"the certificate service {self.server_name} at {self.target}"

    async def _call(self, request: CertificateRequest, *, token: str, root_pem: bytes) -> CertificateResponse:
        credentials = grpc.ssl_channel_credentials(root_certificates=root_pem)
        options = (("grpc.ssl_target_name_override", self.server_name), ("grpc.enable_http_proxy", 0))
        async with grpc.aio.secure_channel(self.target, credentials, options=options) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CREATE_CERTIFICATE)
            try:
                answer = await call(
                    request.to_wire(), timeout=CALL_TIMEOUT_S, metadata=(("authorization", f"Bearer {token}"),)
                )
                return CertificateResponse.from_wire(answer)
            except grpc.aio.AioRpcError as error:
                kind = ERRORS.get(error.code(), UnavailableError)
                raise kind(f"{self._what} gave no certificate: {_reason(error)}") from error
            except ValueError as error:
                raise UnusableError(f"{self._what} gave an answer that cannot be read: {error}") from error


async def _read(path: Path, what: str) -> bytes:
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise UnavailableError(f"cannot read {what} at {path}: {error.strerror}") from error
    if not content.strip():
        raise UnavailableError(f"cannot read {what} at {path}: the file is empty")
    return content


def _reason(error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {CALL_TIMEOUT_S:g} s"
    return f"{error.details()} ({error.code().name})"


def _chain(response: CertificateResponse, *, root_pem: bytes, now: datetime) -> tuple[x509.Certificate, ...]:
    """Leaf and intermediates, in order, checked to end under one of our roots; the root itself is left out."""
    if not response.cert_chain:
        raise InvalidCertificateError("the answer holds no certificate")
    leaf, *others = certificates_of("".join(response.cert_chain))
    return path_to_root(leaf, intermediates=others, roots=certificates_of(root_pem), now=now)[:-1]
