"""What a gateway's agent can be told to try, and what it answers, as values and as JSON.

``POST /v1/probe`` takes a :class:`ProbeOrder` and gives a ``ProbeReport``, ``POST /v1/request`` takes a
:class:`RequestOrder` and gives a ``RequestReport`` (both of ``federation.findings``). Unknown keys are ignored, so that
the two ends may be of different age. Both ends are of one mesh, and still everything is bounded.
"""

from typing import Annotated, Final, TypeVar

import msgspec

from isthmus.federation.findings import ProbeReport, RequestReport
from isthmus.federation.ports import FIRST_PORT, LAST_PORT
from isthmus.identity import IdentityError, SpiffeId, TrustBundle, TrustDomain
from isthmus.probe.errors import BadOrderError

MAX_ORDER_BYTES: Final = 512 * 1024
"""A bundle of roots may have 256 KiB (``identity``)."""
MAX_REPORT_BYTES: Final = 256 * 1024
MAX_ADDRESSES: Final = 16
MAX_TIMEOUT_S: Final = 30.0

PROBE_PATH: Final = "/v1/probe"
REQUEST_PATH: Final = "/v1/request"

_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=r"\A[A-Za-z0-9_.:-]+\Z")]
_Word = Annotated[str, msgspec.Meta(max_length=63)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Timeout = Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT_S)]


class ProbeOrder(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Call a peer's discovery port at each of its addresses, as Envoy would, and ask it for ``path``."""

    addresses: Annotated[tuple[_Host, ...], msgspec.Meta(min_length=1, max_length=MAX_ADDRESSES)]
    port: _Port
    server_name: _Host
    """SNI and Host of the call."""
    path: Annotated[str, msgspec.Meta(pattern=r"\A(?:/v1/[a-z]{1,32})?\Z")] = "/v1/peer"
    """Empty to ask for nothing, but to wait for a moment whether our certificate is refused."""
    trust_domain: Annotated[str, msgspec.Meta(max_length=255)]
    roots: Annotated[str, msgspec.Meta(max_length=256 * 1024)]
    """PEM: who can vouch for the server."""
    identities: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=2048)], ...], msgspec.Meta(max_length=100)] = ()
    """SPIFFE ids, of which the server must have one; empty for any of the trust domain, as Envoy has it."""
    timeout_s: _Timeout = 5.0
    """For a whole attempt, from the name to the answer."""

    def expected(self) -> "ExpectedServer":
        """Who must answer; raises BadOrderError: server name, trust domain, roots or identities cannot be used."""
        try:
            self.server_name.encode("idna")  # as TLS will, which takes not every name that a peer may tell
            bundle = TrustBundle.parse(TrustDomain(self.trust_domain), self.roots)
            return ExpectedServer(bundle=bundle, identities=frozenset(map(SpiffeId.parse, self.identities)))
        except (IdentityError, UnicodeError) as error:
            raise BadOrderError(f"the order does not say who must answer: {error}") from error


class ExpectedServer(msgspec.Struct, frozen=True, kw_only=True):
    """Who must answer: someone under ``bundle``, of its trust domain, and one of ``identities`` if there are any."""

    bundle: TrustBundle
    identities: frozenset[SpiffeId] = frozenset()


class RequestOrder(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Call an imported port as a workload would, through this pod's Envoy."""

    gateway_port: Annotated[int, msgspec.Meta(ge=FIRST_PORT, le=LAST_PORT)]
    protocol: _Word = "TCP"
    """As the service's message has it: HTTP, GRPC, TCP…"""
    host: _Host
    """The import's name here, for the Host of an HTTP request."""
    timeout_s: _Timeout = 5.0


_T = TypeVar("_T", ProbeOrder, RequestOrder)
_R = TypeVar("_R", ProbeReport, RequestReport)
_V = TypeVar("_V")


def parse_order(body: bytes, kind: type[_T]) -> _T:
    """Read an order; raises BadOrderError: too long, not JSON, or a value out of its bounds."""
    return _parsed(body, kind, most_bytes=MAX_ORDER_BYTES)


def parse_report(body: bytes, kind: type[_R]) -> _R:
    """Read a report; raises BadOrderError as ``parse_order`` (it is the gateway that is of another age then)."""
    return _parsed(body, kind, most_bytes=MAX_REPORT_BYTES)


def _parsed(body: bytes, kind: type[_V], *, most_bytes: int) -> _V:
    if len(body) > most_bytes:
        raise BadOrderError(f"the {kind.__name__} is longer than {most_bytes} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadOrderError(f"not a {kind.__name__} in JSON: {str(error)[:200]}") from error
