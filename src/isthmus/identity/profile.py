"""What the certificates that a mesh's CA signs look like.

Leaf: SPIFFE X509-SVID §3 and §4. Extensions, identifiers and their criticality: RFC 5280 §4.2.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isthmus.identity.pem import PrivateKey, PublicKey
from isthmus.identity.spiffe import SpiffeId, TrustDomain

_NO_NAME = x509.Name([])
_NO_USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafNames:
    """What a leaf says of its holder: one SPIFFE id, and the DNS names under which it serves, if any."""

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...] = ()


def leaf(
    key: PublicKey,
    names: LeafNames,
    *,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    validity: tuple[datetime, datetime],
) -> x509.Certificate:
    """An SVID for ``key``: it may prove itself as server and as client, and sign nothing."""
    sans: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(names.spiffe_id))]
    sans.extend(x509.DNSName(name) for name in names.dns_names)
    # Encipherment is for TLS 1.2 with RSA key exchange; an EC key has no use for it.
    usage = _usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey))
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        _builder(key, subject=_NO_NAME, issuer=issuer.subject, validity=validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
        # RFC 5280 §4.2.1.6: critical, because the subject is empty.
        .add_extension(x509.SubjectAlternativeName(sans), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def self_signed_root(
    key: PrivateKey, trust_domain: TrustDomain, *, not_before: datetime, not_after: datetime
) -> x509.Certificate:
    """A root for ``trust_domain``; its URI name is the trust domain's own SPIFFE id (X509-SVID §3.1)."""
    public_key = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain.name[:64])])
    sans = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(SpiffeId(trust_domain)))])
    builder = (
        _builder(public_key, subject=name, issuer=name, validity=(not_before, not_after))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(sans, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _builder(
    key: PublicKey, *, subject: x509.Name, issuer: x509.Name, validity: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    not_before, not_after = validity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _usage(**granted: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, **granted})


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's own subjectKeyIdentifier where it has one: another way to compute it would not match it."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
