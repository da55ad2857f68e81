"""Is the server that has shown these certificates the one that was meant? A function of values.

The order of the questions is that of what helps most: a server of some other kind, another mesh, a root that nobody
here knows, a time that is over, a neighbour in the right mesh. Source: SPIFFE X509-SVID §5.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from isthmus.federation.findings import CertificateFacts, Fault
from isthmus.identity import (
    ExpiredCertificateError,
    InvalidCertificateError,
    SpiffeId,
    certificates_of,
    expired_at,
    fingerprint,
    path_to_root,
    spiffe_id_of,
    valid_at,
)
from isthmus.probe.orders import ExpectedServer

MAX_CHAIN: Final = 6
"""Certificates of a chain that are looked at: the search for a path tries their orders, and a stranger sent them."""
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands against a server; no ``fault`` if nothing does."""

    fault: Fault | None = None
    detail: str = ""


def read_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates from their DER; raises InvalidCertificateError: there is none, or one cannot be read."""
    if not chain:
        raise InvalidCertificateError("the server sent no certificate")
    return certificates_of("".join(ssl.DER_cert_to_PEM_cert(der) for der in chain[:MAX_CHAIN]))


def facts(certificate: x509.Certificate) -> CertificateFacts:
    """What a certificate says, bounded: a stranger wrote it."""
    return CertificateFacts(
        fingerprint=fingerprint(certificate),
        subject=_shown(certificate.subject.rfc4514_string()),
        issuer=_shown(certificate.issuer.rfc4514_string()),
        uris=_uris(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def judged(chain: Sequence[x509.Certificate], expected: ExpectedServer, now: datetime) -> Verdict:
    """Whether ``chain``, the leaf first, proves that its holder is expected."""
    try:
        identity = spiffe_id_of(chain[0])
    except InvalidCertificateError as error:
        return Verdict(Fault.NO_IDENTITY, str(error))
    if identity.trust_domain != expected.bundle.trust_domain:
        return Verdict(
            Fault.WRONG_TRUST_DOMAIN, f"it is {identity}, expected one of trust domain {expected.bundle.trust_domain}"
        )
    untrusted = _untrusted(chain, expected, now)
    return untrusted or _identified(identity, expected.identities)


def _untrusted(chain: Sequence[x509.Certificate], expected: ExpectedServer, now: datetime) -> Verdict | None:
    roots = expected.bundle.roots
    try:
        path_to_root(chain[0], intermediates=chain[1:], roots=roots, now=now)
    except ExpiredCertificateError as error:
        return Verdict(_time_fault((*chain, *roots), now), str(error))
    except InvalidCertificateError as error:
        return Verdict(Fault.UNKNOWN_ROOT, str(error))
    return None


def _identified(identity: SpiffeId, expected: frozenset[SpiffeId]) -> Verdict:
    if expected and identity not in expected:
        wanted = " or ".join(sorted(map(str, expected)))
        return Verdict(Fault.WRONG_IDENTITY, f"it is {identity}, expected {_shown(wanted)}")
    return Verdict()


def _time_fault(certificates: Sequence[x509.Certificate], now: datetime) -> Fault:
    """Which of the two it is, for the first certificate that does not hold."""
    first = next(one for one in certificates if not valid_at(one, now))
    return Fault.EXPIRED if expired_at(first, now) else Fault.NOT_YET_VALID


def _uris(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_shown(uri) for uri in names.get_values_for_type(x509.UniformResourceIdentifier)[:5])


def _shown(text: str) -> str:
    return ascii(text[:_SHOWN])[1:-1]
