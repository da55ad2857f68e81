"""The routes of the discovery server as an ASGI application.

Source: docs/protocol.md §2. Who calls comes from the certificate of the connection (ASGI's "tls" extension) alone;
the caller is the ingress gateway of our own mesh, which has authenticated the peer that the path names.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.discovery.bundle_document import encode_trust_bundle
from isthmus.discovery.enroller import Application, Enroller
from isthmus.discovery.errors import EnrolmentUnavailableError, ForbiddenError, UnknownPeerError
from isthmus.discovery.exporter import Caller, ExportedLink, Exporter
from isthmus.discovery.times import TIME_HEADER, time_header
from isthmus.discovery.watch import HEARTBEAT_S, WatchResponse
from isthmus.federation.enrolment import MAX_BODY_BYTES, PATH, STATUS
from isthmus.federation.messages import encode
from isthmus.identity import IdentityError, InvalidCertificateError, SpiffeId, certificates_of, spiffe_id_of

JSON: Final = "application/json"
FORWARDED_CERTIFICATE: Final = "x-forwarded-client-cert"
ABORT_EXTENSION: Final = "isthmus.abort"
"""ASGI extension of our server: ``{"abort": callable}`` breaks the connection without sending what is buffered."""
_STATUS_BY_ERROR: Final[Mapping[type[Exception], int]] = {
    UnknownPeerError: 400,
    ForbiddenError: 403,
    EnrolmentUnavailableError: 503,
}


def discovery_app(exporter: Exporter, *, enroller: Enroller | None = None, heartbeat_s: float = HEARTBEAT_S) -> ASGIApp:
    """The application; it needs a server that fills the "tls" and ``ABORT_EXTENSION`` extensions of each scope.

    Without ``enroller`` nobody is enrolled.
    """
    routes = _Routes(exporter, heartbeat_s)
    enrolling = [] if enroller is None else [Route(PATH, _Enrolling(enroller).enrol, methods=["POST"])]
    return Starlette(
        routes=[
            Route("/v1/services/{peer}", routes.services, methods=["GET"]),
            Route("/v1/watch/{peer}", routes.watch, methods=["GET"]),
            Route("/v1/peer/{peer}", routes.peer, methods=["GET"]),
            Route("/v1/trustbundle/{peer}", routes.trust_bundle, methods=["GET"]),
            *enrolling,
        ],
        exception_handlers=dict.fromkeys(_STATUS_BY_ERROR, _refuse),
    )


@dataclass(frozen=True, slots=True)
class _Routes:
    exporter: Exporter
    heartbeat_s: float

    async def services(self, request: Request) -> Response:
        link = self._link(request)
        link.remote_got_list(_source(request))
        snapshot = link.feed.snapshot()
        link.tally.lists_sent += 1
        link.tally.bytes_sent += len(snapshot)
        return Response(snapshot, media_type=JSON)

    async def watch(self, request: Request) -> Response:
        link = self._link(request)
        return _Streaming(WatchResponse(link, _source(request), cut_off=_abort(request), heartbeat_s=self.heartbeat_s))

    async def peer(self, request: Request) -> Response:
        return Response(encode(self._link(request).view()), media_type=JSON, headers={TIME_HEADER: time_header()})

    async def trust_bundle(self, request: Request) -> Response:
        return Response(encode_trust_bundle(self._link(request).trust_bundle), media_type=JSON)

    def _link(self, request: Request) -> ExportedLink:
        return self.exporter.link(request.path_params["peer"], Caller(_caller(request), _client(request)))


@dataclass(frozen=True, slots=True)
class _Enrolling:
    enroller: Enroller

    async def enrol(self, request: Request) -> Response:
        body = await _bounded_body(request)
        if body is None:
            return PlainTextResponse(f"longer than {MAX_BODY_BYTES} bytes\n", status_code=413)
        application = Application(
            authorization=request.headers.get("authorization", ""),
            body=body,
            caller=_caller(request),
            source=_source(request),
        )
        answer = await self.enroller.enrol(application)
        return Response(msgspec.json.encode(answer), status_code=STATUS[answer.reason], media_type=JSON)


async def _bounded_body(request: Request) -> bytes | None:
    """The body, or None as soon as it is longer than a message may be."""
    body = bytearray()
    async for some in request.stream():
        body += some
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


class _Streaming(Response):
    """A watch as what Starlette's routes return."""

    def __init__(self, watch: WatchResponse) -> None:
        self._watch = watch
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._watch(scope, receive, send)


def _caller(request: Request) -> SpiffeId:
    chain = request.scope["extensions"]["tls"]["client_cert_chain"]
    try:
        return spiffe_id_of(certificates_of(chain[0])[0])
    except InvalidCertificateError as error:
        raise ForbiddenError(f"the client certificate does not name a caller: {error}") from error


def _client(request: Request) -> SpiffeId | None:
    """On whose behalf the gateway calls: it writes this header from the certificate, whatever came in."""
    elements = request.headers.get(FORWARDED_CERTIFICATE, "").split(",")
    uris = [part.removeprefix("URI=") for part in elements[0].split(";") if part.startswith("URI=")]
    if len(elements) != 1 or len(uris) != 1:
        return None
    try:
        return SpiffeId.parse(uris[0])
    except IdentityError:
        return None


def _source(request: Request) -> str:
    """Where the call came from: the first hop that proxies have noted, if it is an address, else the TCP address."""
    first_hop = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    try:
        return str(ipaddress.ip_address(first_hop))
    except ValueError:
        return request.client.host if request.client else "unknown"


def _abort(request: Request) -> Callable[[], None]:
    abort: Callable[[], None] = request.scope["extensions"][ABORT_EXTENSION]["abort"]
    return abort


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    return PlainTextResponse(f"{error}\n", status_code=_STATUS_BY_ERROR[type(error)])
