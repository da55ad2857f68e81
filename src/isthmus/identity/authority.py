"""A certificate authority: signs X.509 SVIDs for one trust domain.

The four PEM texts are those that Istio reads from the Secret ``cacerts``. What a certificate looks like is
``profile``'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self, TypeVar

from cryptography import x509

from isthmus.identity import profile
from isthmus.identity.errors import (
    ExpiredAuthorityError,
    ExpiredCertificateError,
    InvalidAuthorityError,
    InvalidCertificateError,
    InvalidRequestError,
)
from isthmus.identity.path import Path, check_issuer, path_to_root
from isthmus.identity.pem import (
    PrivateKey,
    certificate_of,
    certificates_of,
    certificates_pem,
    private_key_of,
    private_key_pem,
)
from isthmus.identity.request import new_private_key, requested_key, signing_request
from isthmus.identity.spiffe import SpiffeId, TrustDomain
from isthmus.identity.svid import X509Svid
from isthmus.identity.validity import CLOCK_SKEW, first_expiry

ROOT_LIFETIME = timedelta(days=3650)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The CA's certificate and key, and what leads from it to the roots.

    Invariants: ``private_key`` is the key of ``certificate``; ``intermediates`` are the certificates to be sent after
    a leaf, from ``certificate`` upwards, without the root (empty if ``certificate`` is itself a root); ``roots`` are
    all that the mesh trusts, at least one, and one of them is the chain's end.
    """

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)
    intermediates: Path
    roots: tuple[x509.Certificate, ...]

    @classmethod
    def self_signed(cls, trust_domain: TrustDomain, *, now: datetime, lifetime: timedelta = ROOT_LIFETIME) -> Self:
        """A new CA with a new P-256 key, its own root."""
        key = new_private_key()
        certificate = profile.self_signed_root(key, trust_domain, not_before=now - CLOCK_SKEW, not_after=now + lifetime)
        return cls(certificate=certificate, private_key=key, intermediates=(), roots=(certificate,))

    @classmethod
    def load(
        cls,
        *,
        ca_cert: bytes | str,
        ca_key: bytes | str,
        cert_chain: bytes | str,
        root_cert: bytes | str,
        now: datetime,
    ) -> Self:
        """Read a CA that an administrator brought; EC and RSA keys, with or without intermediates.

        ``cert_chain`` may be empty if a root signed the CA; it may or may not repeat the CA's certificate and the
        root. Raises InvalidAuthorityError, naming the part: it cannot be read, the key is another's, the certificate
        is not a CA, the chain does not reach a root; ExpiredAuthorityError: a certificate of the chain does not hold
        at ``now``.
        """
        certificate = _part("ca-cert.pem", certificate_of, ca_cert)
        key = _part("ca-key.pem", private_key_of, ca_key)
        chain = _part("cert-chain.pem", certificates_of, cert_chain) if cert_chain.strip() else ()
        roots = tuple(dict.fromkeys(_part("root-cert.pem", certificates_of, root_cert)))
        if certificate.public_key() != key.public_key():
            raise InvalidAuthorityError(
                "Invalid CA: the key in ca-key.pem is not that of the certificate in ca-cert.pem"
            )
        path = _checked_path(certificate, chain=chain, roots=roots, now=now)
        return cls(certificate=certificate, private_key=key, intermediates=path[:-1], roots=roots)

    def issue(
        self,
        request_pem: bytes | str,
        *,
        spiffe_id: SpiffeId,
        lifetime: timedelta,
        now: datetime,
        dns_names: Sequence[str] = (),
    ) -> Path:
        """The leaf for the key that ``request_pem`` proves, then the intermediates; the root is not among them.

        The identity is the caller's word, whatever the request names. The leaf holds from two minutes before ``now``
        until ``lifetime`` after, but no longer than the CA. Raises InvalidRequestError: the request cannot be
        granted, or the lifetime is not positive; ExpiredAuthorityError: the CA's time is over at ``now``.
        """
        key = requested_key(request_pem)
        if lifetime <= timedelta():
            raise InvalidRequestError(f"the requested lifetime of {lifetime.total_seconds():g} s is not positive")
        not_after = min(now + lifetime, first_expiry((self.certificate, *self.intermediates)))
        if not_after <= now:
            raise ExpiredAuthorityError(f"the CA's certificate expired at {not_after:%Y-%m-%dT%H:%M:%SZ}: replace it")
        names = profile.LeafNames(spiffe_id=spiffe_id, dns_names=tuple(dns_names))
        leaf = profile.leaf(
            key, names, issuer=self.certificate, issuer_key=self.private_key, validity=(now - CLOCK_SKEW, not_after)
        )
        return (leaf, *self.intermediates)

    def issue_svid(
        self, spiffe_id: SpiffeId, *, lifetime: timedelta, now: datetime, dns_names: Sequence[str] = ()
    ) -> X509Svid:
        """An SVID with a new key, for who holds the CA itself; raises as ``issue``."""
        key = new_private_key()
        request = signing_request(key, spiffe_id)
        chain = self.issue(request, spiffe_id=spiffe_id, lifetime=lifetime, now=now, dns_names=dns_names)
        return X509Svid(private_key=key, chain=chain)

    @property
    def ca_cert_pem(self) -> bytes:
        """``ca-cert.pem``."""
        return certificates_pem((self.certificate,))

    @property
    def ca_key_pem(self) -> bytes:
        """``ca-key.pem``, unencrypted: not for logs."""
        return private_key_pem(self.private_key)

    @property
    def cert_chain_pem(self) -> bytes:
        """``cert-chain.pem``: empty if the CA is its own root."""
        return certificates_pem(self.intermediates)

    @property
    def root_cert_pem(self) -> bytes:
        """``root-cert.pem``, which is also what is published to the mesh."""
        return certificates_pem(self.roots)


def _part(name: str, read: Callable[[bytes | str], T], pem: bytes | str) -> T:
    try:
        return read(pem)
    except InvalidCertificateError as error:
        raise InvalidAuthorityError(f"Invalid CA: {name}: {error}") from error


def _checked_path(
    certificate: x509.Certificate, *, chain: Path, roots: tuple[x509.Certificate, ...], now: datetime
) -> Path:
    """From ``certificate`` to the root, and that every one of them, the last included, may sign."""
    try:
        path = path_to_root(certificate, intermediates=chain, roots=roots, now=now)
        for depth, one in enumerate(path):
            check_issuer(one, intermediates_below=depth)
    except ExpiredCertificateError as error:
        raise ExpiredAuthorityError(f"Invalid CA: {error}") from error
    except InvalidCertificateError as error:
        raise InvalidAuthorityError(f"Invalid CA: {error}") from error
    return path
