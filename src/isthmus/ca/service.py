"""The server: ``CreateCertificate`` of ``istio.v1.auth.IstioCertificateService``.

Who the caller is comes from its service account token alone; nothing that the signing request says is believed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol, TypeAlias

import grpc
import structlog

from isthmus.ca.messages import CREATE_CERTIFICATE, CertificateRequest, CertificateResponse
from isthmus.identity import (
    Authority,
    InvalidAuthorityError,
    InvalidRequestError,
    SpiffeId,
    TrustDomain,
    certificates_pem,
)
from isthmus.news import News

log = structlog.get_logger(__name__)

DEFAULT_LIFETIME = timedelta(hours=24)
MAX_TOKEN_BYTES = 16 * 1024
# Each holds a TokenReview open; beyond this many the callers come back later.
MAX_CALLS_IN_PROGRESS = 64

_BEARER = "bearer "

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class ServiceAccountIdentity:
    """The Kubernetes service account that a token was issued to."""

    namespace: str
    name: str


class TokenRefusedError(Exception):
    """The token is not valid here; the message says why in one line and holds nothing of the token."""


class TokenReviewUnavailableError(Exception):
    """Whether the token is valid could not be found out now; the message says why in one line."""


class Authenticator(Protocol):
    """Knows to which service account a token belongs. Owned by the service, implemented by who serves."""

    async def authenticate(self, token: str) -> ServiceAccountIdentity:
        """Check ``token``, which must have been issued for the audience ``istio-ca``.

        Raises:
            TokenRefusedError: it is expired, of another audience, or not a token of this cluster.
            TokenReviewUnavailableError: it could not be checked.
        """
        ...


class _AbortError(Exception):
    """Private: a call ends with this status."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class CertificateService:
    """Issues SVIDs of ``trust_domain``; add ``handlers()`` to a ``grpc.aio`` server that speaks TLS.

    ``authority`` is asked for each certificate, so that a new CA takes effect at once. ``lifetime`` is what a caller
    gets that asks for none, and the most that any caller gets.
    """

    def __init__(
        self,
        authority: Callable[[], Authority],
        authenticator: Authenticator,
        *,
        trust_domain: TrustDomain,
        lifetime: timedelta = DEFAULT_LIFETIME,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._authority = authority
        self._authenticator = authenticator
        self._trust_domain = trust_domain
        self._lifetime = lifetime
        self._clock = clock
        self._in_progress = 0
        self._news: News[str] = News()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handler that recognises ``CreateCertificate``."""
        return _Handlers(grpc.unary_unary_rpc_method_handler(self._create_certificate))

    async def _create_certificate(self, request: bytes, context: Context) -> bytes:
        self._in_progress += 1
        try:
            if self._in_progress > MAX_CALLS_IN_PROGRESS:
                _abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests for certificates at once: try again")
            return await self._answer(request, context)
        except _AbortError as refusal:
            caller = _host(context.peer())
            if self._news.is_new(caller, str(refusal)):  # it asks again, every few seconds
                log.info("certificate refused", caller=caller, code=refusal.code.name, reason=str(refusal))
            await context.abort(refusal.code, str(refusal))
        finally:
            self._in_progress -= 1

    async def _answer(self, request: bytes, context: Context) -> bytes:
        account = await self._account(_token(context))
        spiffe_id = SpiffeId.service_account(self._trust_domain, namespace=account.namespace, account=account.name)
        response = self._issue(_parsed(request), spiffe_id)
        caller = _host(context.peer())
        self._news.settled(caller)
        log.info("certificate issued", identity=str(spiffe_id), caller=caller)
        return response.to_wire()

    async def _account(self, token: str) -> ServiceAccountIdentity:
        try:
            return await self._authenticator.authenticate(token)
        except TokenRefusedError as error:
            _abort(grpc.StatusCode.UNAUTHENTICATED, f"the service account token is not accepted: {error}")
        except TokenReviewUnavailableError as error:
            _abort(grpc.StatusCode.UNAVAILABLE, f"the service account token could not be checked: {error}")

    def _issue(self, request: CertificateRequest, spiffe_id: SpiffeId) -> CertificateResponse:
        authority = self._authority()
        lifetime = min(request.validity or self._lifetime, self._lifetime)
        try:
            chain = authority.issue(request.csr, spiffe_id=spiffe_id, lifetime=lifetime, now=self._clock())
        except InvalidRequestError as error:
            _abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except InvalidAuthorityError as error:
            _abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        # Istio's clients take the last element for the root; several roots make one element.
        elements = (*(certificates_pem([one]) for one in chain), authority.root_cert_pem)
        return CertificateResponse(tuple(element.decode() for element in elements))


class _Handlers(grpc.GenericRpcHandler):
    """Maps the one method's name to its handler."""

    def __init__(self, handler: "grpc.RpcMethodHandler[bytes, bytes]") -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handler if handler_call_details.method == CREATE_CERTIFICATE else None


def _token(context: Context) -> str:
    headers = dict(context.invocation_metadata() or ())
    value = headers.get("authorization", "")
    if isinstance(value, bytes) or not value.lower().startswith(_BEARER):
        _abort(grpc.StatusCode.UNAUTHENTICATED, "no token: expected the header 'authorization: Bearer <token>'")
    token = value[len(_BEARER) :].strip()
    if not 0 < len(token) <= MAX_TOKEN_BYTES:
        _abort(grpc.StatusCode.UNAUTHENTICATED, f"the token has {len(token)} bytes: expected 1 to {MAX_TOKEN_BYTES}")
    return token


def _parsed(request: bytes) -> CertificateRequest:
    try:
        return CertificateRequest.from_wire(request)
    except ValueError as error:
        _abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _abort(code: grpc.StatusCode, reason: str) -> NoReturn:
    raise _AbortError(code, reason)


def _host(peer: str) -> str:
    """The caller's address without its port, which is another for each call: ``ipv4:127.0.0.1``."""
    return peer.rpartition(":")[0] or peer
