"""X.509 SVIDs: whose a certificate is, and whether it may say so (SPIFFE X509-SVID §2 to §5)."""

from dataclasses import dataclass, field
from typing import Self

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from isthmus.identity.errors import InvalidCertificateError, InvalidSpiffeIdError, InvalidTrustDomainError
from isthmus.identity.path import Path
from isthmus.identity.pem import PrivateKey, certificates_of, certificates_pem, private_key_of, private_key_pem
from isthmus.identity.spiffe import SpiffeId


@dataclass(frozen=True, slots=True, kw_only=True)
class X509Svid:
    """A private key and the certificates that prove whose it is; one that exists fits together.

    Invariants: ``chain`` is the leaf, then the intermediates in the order in which they signed, without the root;
    the leaf is an SVID and its key is ``private_key``. Raises InvalidCertificateError otherwise.
    The private key is in no representation of the object.
    """

    private_key: PrivateKey = field(repr=False)
    chain: Path

    def __post_init__(self) -> None:
        spiffe_id_of(self.leaf)
        if self.leaf.public_key() != self.private_key.public_key():
            raise InvalidCertificateError(
                "the certificate was issued for another key than the private key given with it"
            )

    @classmethod
    def parse(cls, *, chain_pem: bytes | str, key_pem: bytes | str) -> Self:
        """Read both from PEM; raises InvalidCertificateError: either cannot be read, or they do not fit together."""
        return cls(private_key=private_key_of(key_pem), chain=certificates_of(chain_pem))

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the holder itself."""
        return self.chain[0]

    @property
    def spiffe_id(self) -> SpiffeId:
        """Who the holder is."""
        return spiffe_id_of(self.leaf)

    @property
    def chain_pem(self) -> bytes:
        """Leaf and intermediates, in this order."""
        return certificates_pem(self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key, unencrypted: not for logs."""
        return private_key_pem(self.private_key)


def spiffe_id_of(certificate: x509.Certificate) -> SpiffeId:
    """The SPIFFE id that ``certificate``, a leaf, carries.

    Raises InvalidCertificateError: no URI name or more than one, a URI that is not a SPIFFE id or has no path (§2 and
    §3), a CA (§4.1), a keyUsage that is missing, lacks digitalSignature or has keyCertSign or cRLSign (§4.3; Envoy
    refuses one without keyUsage as well), an extendedKeyUsage without serverAuth or clientAuth (§4.4).
    """
    names = _uri_names(certificate)
    if len(names) != 1:
        raise InvalidCertificateError(f"the certificate has {len(names)} URI names: an SVID has exactly one")
    try:
        spiffe_id = SpiffeId.parse(names[0])
    except (InvalidSpiffeIdError, InvalidTrustDomainError) as error:
        raise InvalidCertificateError(f"the certificate's URI name is not a SPIFFE id: {error}") from error
    if not spiffe_id.path:
        raise InvalidCertificateError(
            f"the certificate's SPIFFE id {spiffe_id} names a trust domain, not one of its members"
        )
    _check_leaf(certificate)
    return spiffe_id


def _uri_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _check_leaf(certificate: x509.Certificate) -> None:
    extensions = {type(one.value): one.value for one in certificate.extensions}
    constraints = extensions.get(x509.BasicConstraints)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        raise InvalidCertificateError("the certificate is a CA: an SVID that proves an identity is a leaf")
    usage = extensions.get(x509.KeyUsage)
    if not isinstance(usage, x509.KeyUsage):
        raise InvalidCertificateError("the certificate has no keyUsage: an SVID has one, with digitalSignature")
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise InvalidCertificateError(
            "the certificate's keyUsage must have digitalSignature and neither keyCertSign nor cRLSign"
        )
    purposes = extensions.get(x509.ExtendedKeyUsage)
    if isinstance(purposes, x509.ExtendedKeyUsage) and not _SVID_PURPOSES.issubset(purposes):
        raise InvalidCertificateError("the certificate's extendedKeyUsage must have both serverAuth and clientAuth")


_SVID_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
