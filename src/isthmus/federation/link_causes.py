"""From what was found out about the way to a peer to the one cause that is told: the classification itself.

Pure. A call that came furthest tells most, so of several attempts the one that reached the latest step decides; where
one succeeds, the way is open. Texts hold nothing that changes from try to try, lest each try be news.
Source: docs/conditions.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from isthmus.federation.causes import BY_REASON, Cause
from isthmus.federation.findings import Attempt, CertificateFacts, Fault, ProbeReport, Step


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A cause, and what was seen of it."""

    cause: Cause
    seen: str

    @classmethod
    def of(cls, reason: str, seen: str) -> "Diagnosis":
        """The diagnosis with this reason of the table."""
        return cls(BY_REASON[reason], seen)

    @property
    def reason(self) -> str:
        """The reason, for programs."""
        return self.cause.reason

    @property
    def message(self) -> str:
        """What was seen, who has to act, and how."""
        return self.cause.told(self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What should be found on the way to a peer."""

    gateway: str
    """Our egress gateway, from which calls start."""
    identity: str
    """Its SPIFFE id, as which we call."""
    trust_domain: str
    """The peer's."""
    roots: tuple[str, ...]
    """SHA-256 fingerprints of the peer's roots."""


def link_diagnosis(report: ProbeReport, expected: Expected) -> Diagnosis | None:
    """Why calls to the peer do not arrive; None if one of them does, or none was made."""
    if not report.attempts or any(attempt.fault is None for attempt in report.attempts):
        return None
    furthest = min(report.attempts, key=lambda each: (-_rank(each.reached), each.address, each.host))
    return Diagnosis.of(_reason(furthest), _seen(furthest, expected))


_STEPS: Final = {step: rank for rank, step in enumerate(Step, start=1)}
_REASONS: Final[Mapping[Fault, str]] = {
    Fault.NOT_RESOLVED: "AddressNotResolved",
    Fault.REFUSED: "ConnectionRefused",
    Fault.TIMED_OUT: "ConnectionTimedOut",
    Fault.CLOSED: "HandshakeFailed",
    Fault.NOT_TLS: "NotTls",
    Fault.TLS_FAILED: "HandshakeFailed",
    Fault.NO_IDENTITY: "UnexpectedServer",
    Fault.UNKNOWN_ROOT: "UnknownRoot",
    Fault.WRONG_TRUST_DOMAIN: "WrongTrustDomain",
    Fault.WRONG_IDENTITY: "WrongIdentity",
    Fault.EXPIRED: "CertificateExpired",
    Fault.NOT_YET_VALID: "CertificateNotYetValid",
    Fault.CERTIFICATE_REFUSED: "CertificateRefused",
    Fault.PROTOCOL: "ProtocolError",
}
_AFTER_TRUST: Final[Mapping[Fault, str]] = {
    Fault.TIMED_OUT: "PeerControlPlaneDown",
    Fault.CLOSED: "CertificateRefused",
}
"""What the same fault means once the peer has proved who it is: its gateway is reached, and does not go on."""
_BY_STATUS: Final[Mapping[int, str]] = {
    400: "NoPeerForUs",
    403: "ClientRefused",
    404: "NoPeerForUs",
    502: "PeerControlPlaneDown",
    503: "PeerControlPlaneDown",
    504: "PeerControlPlaneDown",
}


def reason_of_status(status: int) -> str:
    """What it means that the peer answers a discovery call with this status."""
    return _BY_STATUS.get(status, "ProtocolError")


def _rank(step: Step | None) -> int:
    return 0 if step is None else _STEPS[step]


def _reason(attempt: Attempt) -> str:
    if attempt.fault is Fault.STATUS:
        return reason_of_status(attempt.status)
    fault = attempt.fault or Fault.PROTOCOL
    is_trusted = _rank(attempt.reached) >= _rank(Step.TRUST)
    return (_AFTER_TRUST.get(fault) if is_trusted else None) or _REASONS[fault]


def _seen(attempt: Attempt, expected: Expected) -> str:
    where = f"{attempt.host}:{attempt.port}" if attempt.host else f"{attempt.address}:{attempt.port}"
    name = f" ({attempt.address})" if attempt.host not in {"", attempt.address} else ""
    parts = [f"{expected.gateway} called {where}{name} as {expected.identity}: {_what(attempt)}"]
    if attempt.certificate is not None:
        parts.append(f"shown was {described(attempt.certificate)}")
        roots = ", ".join(expected.roots) or "none"
        parts.append(f"expected was trust domain {expected.trust_domain} under root {roots}")
    return "; ".join(parts)


def _what(attempt: Attempt) -> str:
    if attempt.fault is Fault.STATUS:
        return f"the answer was {attempt.detail or attempt.status}"
    return attempt.detail or BY_REASON[_reason(attempt)].meaning.rstrip(".").lower()


def described(certificate: CertificateFacts) -> str:
    """A certificate in half a line: who it is, its dates, its fingerprint."""
    who = ", ".join(certificate.uris) or certificate.subject or "nobody"
    dates = f"valid {_time(certificate.not_before)} to {_time(certificate.not_after)}"
    return f"certificate {certificate.fingerprint} of {who} ({dates}, issued by {certificate.issuer or 'nobody'})"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
