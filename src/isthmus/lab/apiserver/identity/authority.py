"""The cluster's certificate authority: made once, kept in the data directory, keys readable by the owner alone.

Source: RFC 5280; Kubernetes documentation, "PKI certificates and requirements" (a client certificate's CN is the user,
its O are the groups).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isthmus.lab.apiserver.errors import SecretUnusableError
from isthmus.lab.apiserver.identity.user import AUTHENTICATED, User
from isthmus.lab.http_server import peer_of
from isthmus.lab.validity import BACKDATE

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """The CA with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def serving(self, names: Sequence[str], *, now: datetime) -> Credential:
        """A server certificate for DNS names and IP addresses."""
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._leaf(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]),
            usage=ExtendedKeyUsageOID.SERVER_AUTH,
            alternative=alternative,
            now=now,
        )

    def client(self, name: str, groups: Sequence[str], *, now: datetime) -> Credential:
        """A client certificate for a user."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._leaf(subject, usage=ExtendedKeyUsageOID.CLIENT_AUTH, alternative=None, now=now)

    def _leaf(
        self,
        subject: x509.Name,
        *,
        usage: x509.ObjectIdentifier,
        alternative: x509.SubjectAlternativeName | None,
        now: datetime,
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._certificate.subject, key.public_key(), now=now, lifetime=LEAF_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(_identifier_of(self._certificate), critical=False)
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credential(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))


def _identifier_of(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATE).not_valid_after(now + lifetime)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(*, now: datetime) -> Authority:
    """A new self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    builder = _builder(name, name, key.public_key(), now=now, lifetime=CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return Authority(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)


def load_authority(directory: Path, *, now: datetime) -> Authority:
    """The CA kept in a directory; made there the first time. Blocks on files. Raises SecretUnusableError."""
    certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
    if key_path.exists() and certificate_path.exists():
        certificate, key = _read_certificate(certificate_path), read_key(key_path)
        if certificate.public_key() != key.public_key():  # a kill between two writes, half a backup
            raise SecretUnusableError(key_path, f"the key of the certificate in {certificate_path.name}")
        return Authority(certificate, key)
    authority = new_authority(now=now)
    write_private(certificate_path, authority.pem)
    write_private(key_path, private_pem(authority._key))  # noqa: SLF001  # the maker keeps what it made
    return authority


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise SecretUnusableError(path, "a certificate (PEM)") from error


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file. Raises SecretUnusableError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password
        raise SecretUnusableError(path, "an EC private key (PEM)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecretUnusableError(path, "an EC private key (PEM)")
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def certificate_user(der: bytes) -> User | None:
    """The user of a client certificate that TLS has verified; None when it names nobody."""
    peer = peer_of(der)
    return User(peer.user, (*peer.groups, AUTHENTICATED)) if peer is not None else None
