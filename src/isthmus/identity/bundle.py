"""Trust bundles: the roots that vouch for one trust domain, and for no other (SPIFFE trust domain and bundle §4)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography import x509

from isthmus.identity.errors import InvalidBundleError, InvalidCertificateError
from isthmus.identity.path import check_issuer
from isthmus.identity.pem import certificates_of, certificates_pem
from isthmus.identity.spiffe import TrustDomain
from isthmus.identity.validity import expired_at, fingerprint


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The roots of a trust domain; at least one, each a CA, none twice, in the order in which they were given.

    A root whose time is over is kept, so that it can be reported (``expired``), and so that a clock that is wrong for
    an hour costs no bundle; whoever validates a peer with it refuses it there.
    """

    trust_domain: TrustDomain
    roots: tuple[x509.Certificate, ...]

    @classmethod
    def parse(cls, trust_domain: TrustDomain, pem: bytes | str) -> Self:
        """Read the roots of ``trust_domain`` from PEM, as in a ConfigMap's ``root-cert.pem``.

        Raises InvalidBundleError, its message saying what is broken: empty, not PEM, cut, another kind of block, not a
        certificate, not a CA, too long, too many.
        """
        try:
            return cls.of(trust_domain, certificates_of(pem))
        except InvalidCertificateError as error:
            raise InvalidBundleError(f"Invalid trust bundle of {trust_domain}: {error}") from error

    @classmethod
    def of(cls, trust_domain: TrustDomain, certificates: Iterable[x509.Certificate]) -> Self:
        """The bundle of ``certificates``; raises InvalidCertificateError: there is none, or one is not a CA."""
        roots = tuple(dict.fromkeys(certificates))
        if not roots:
            raise InvalidCertificateError("no certificate was given: expected one root at least")
        for root in roots:
            check_issuer(root)
        return cls(trust_domain, roots)

    def pem(self) -> bytes:
        """All roots as PEM, the same bytes for the same roots in the same order."""
        return certificates_pem(self.roots)

    def expired(self, now: datetime) -> tuple[x509.Certificate, ...]:
        """The roots whose time is over at ``now``."""
        return tuple(root for root in self.roots if expired_at(root, now))

    def fingerprints(self) -> tuple[str, ...]:
        """One per root, in order: by these an administrator compares two copies of a bundle."""
        return tuple(fingerprint(root) for root in self.roots)
