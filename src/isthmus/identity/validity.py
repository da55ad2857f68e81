"""The time in which a certificate holds, when to replace it, and the fingerprint by which people compare two."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

# Clocks of two machines differ; a certificate is made as if it had been issued this long ago.
CLOCK_SKEW = timedelta(minutes=2)


def valid_at(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether ``now`` lies in the certificate's time, both ends included (RFC 5280 §4.1.2.5)."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def expired_at(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether the certificate's time is over at ``now``."""
    return now > certificate.not_valid_after_utc


def first_expiry(certificates: Iterable[x509.Certificate]) -> datetime:
    """The moment from which on the first of the certificates (at least one) is no longer valid."""
    return min(one.not_valid_after_utc for one in certificates)


def renewal_time(certificate: x509.Certificate, *, jitter: float) -> datetime:
    """When to replace the certificate: at half of its time, moved by up to a tenth of it either way.

    ``jitter`` in [0, 1) spreads the renewals of many holders that were started at the same moment.
    """
    start, end = certificate.not_valid_before_utc + CLOCK_SKEW, certificate.not_valid_after_utc
    return start + (end - start) * (0.4 + 0.2 * jitter)


@dataclass(frozen=True, slots=True)
class Term:
    """How long a certificate is kept, by both clocks of its holder: whichever says first that it is to be replaced
    counts, since the time of day may be set. One that does not hold at all, by a clock that was set, is replaced too.

    due: by the time of day; due_s: by the monotonic clock, in seconds.
    """

    certificate: x509.Certificate
    due: datetime
    due_s: float

    @classmethod
    def of(cls, certificate: x509.Certificate, *, now: datetime, now_s: float, jitter: float) -> "Term":
        """The term of a certificate that was just obtained; ``jitter`` as for :func:`renewal_time`."""
        due = renewal_time(certificate, jitter=jitter)
        return cls(certificate, due, now_s + (due - now).total_seconds())

    def left_s(self, *, now: datetime, now_s: float) -> float:
        """Seconds until it is to be replaced, if no clock is set meanwhile; 0 if it is now."""
        if not valid_at(self.certificate, now):
            return 0.0
        return max(0.0, min((self.due - now).total_seconds(), self.due_s - now_s))


def validity_error(certificate: x509.Certificate, now: datetime) -> str | None:
    """Why the certificate does not hold at ``now``, as the end of a sentence; None if it does."""
    if expired_at(certificate, now):
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if not valid_at(certificate, now):
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    return None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate as ``openssl x509 -fingerprint -sha256`` writes it, ``AB:CD:…``."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def described(certificate: x509.Certificate) -> str:
    """The certificate in a message: its subject, or its serial number if that is empty."""
    return repr(certificate.subject.rfc4514_string()[:200] or f"serial {certificate.serial_number:x}")
