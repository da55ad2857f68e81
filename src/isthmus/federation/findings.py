"""What was found out about the way to a peer, step by step: the raw material of every diagnosis.

A gateway's agent finds it out by trying (``probe``), Envoy by failing; what it means for the administrator is decided
in ``causes``. Values only, which also travel as JSON between a gateway and its control plane.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class Step(StrEnum):
    """The steps of a call to a peer, each of which needs the one before."""

    RESOLVE = "resolve"
    """The address has become IP addresses."""
    CONNECT = "connect"
    """A TCP connection stands."""
    HANDSHAKE = "handshake"
    """Someone has shown a certificate."""
    TRUST = "trust"
    """The certificate is the peer's: its root, its trust domain, its time, its identity."""
    ANSWER = "answer"
    """Our own certificate was accepted, and the peer has answered a request."""


class Fault(StrEnum):
    """What stopped a call at the step after the last one reached."""

    NOT_RESOLVED = "notResolved"
    REFUSED = "refused"
    """Nobody listens, or the network says that there is no way."""
    TIMED_OUT = "timedOut"
    CLOSED = "closed"
    """The other end closed the connection without a word."""
    NOT_TLS = "notTls"
    TLS_FAILED = "tlsFailed"
    """TLS was spoken, but no common ground found."""
    NO_IDENTITY = "noIdentity"
    """A certificate that is no SVID: a server of some other kind."""
    UNKNOWN_ROOT = "unknownRoot"
    WRONG_TRUST_DOMAIN = "wrongTrustDomain"
    WRONG_IDENTITY = "wrongIdentity"
    EXPIRED = "expired"
    NOT_YET_VALID = "notYetValid"
    CERTIFICATE_REFUSED = "certificateRefused"
    """The other end refuses our certificate, by an alert of TLS."""
    STATUS = "status"
    """It answers, with another status than 200."""
    PROTOCOL = "protocol"
    """It answers, but not in HTTP or not in JSON as promised."""


class CertificateFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A certificate as it was shown, believed or not. Times are UTC; the fingerprint is SHA-256 in hexadecimal."""

    fingerprint: str
    subject: str = ""
    issuer: str = ""
    uris: tuple[str, ...] = ()
    not_before: datetime
    not_after: datetime


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """One call to one endpoint of a peer. ``reached`` is None if not even the address could be resolved.

    Without ``fault`` the call has reached all that it was meant to. Durations are in milliseconds, None for a step that
    was not reached.
    """

    address: str
    """As the resource has it."""
    port: int
    host: str = ""
    """The IP address that was called; empty while there is none."""
    reached: Step | None = None
    fault: Fault | None = None
    detail: str = ""
    """What the system said, in one line."""
    status: int = 0
    """Of the HTTP answer; 0 without one."""
    certificate: CertificateFacts | None = None
    """What the other end has shown."""
    resolve_ms: float | None = None
    connect_ms: float | None = None
    handshake_ms: float | None = None
    answer_ms: float | None = None


class ProbeReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """What one gateway pod found: an attempt for each IP address of each address, or one where there is none."""

    pod: str
    at: datetime
    attempts: tuple[Attempt, ...] = ()
    clock_offset_s: float | None = None
    """How far the peer's clock is ahead of ours; None if it did not say."""


class RequestReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """What a request through the gateways met. Without ``fault`` someone at the far end has taken it."""

    pod: str
    at: datetime
    fault: Fault | None = None
    detail: str = ""
    """What was seen, in one line."""
    status: int = 0
    """Of the HTTP answer; 0 without one."""
    duration_ms: float = 0.0
    """From the connection to the answer, or to when the connection was seen to stay open."""
