"""Certificates and keys as PEM text (RFC 7468), and certificates as DER, with bounds on what is read.

Text around the blocks is ignored, as ``openssl x509 -text`` writes it. A certificate that is returned has been parsed
to the last extension, so that reading it later does not fail.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from isthmus.identity.errors import InvalidCertificateError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

# A ConfigMap or Secret holds 1 MiB at most; a bundle of more than these is a mistake or an attack.
MAX_PEM_BYTES = 256 * 1024
MAX_CERTIFICATES = 100
MIN_RSA_BITS = 2048

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*)-----END \1-----")
_BEGIN = b"-----BEGIN "
# What cryptography raises while it reads a certificate; the last three are no ValueErrors.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def certificates_of(pem: bytes | str) -> tuple[x509.Certificate, ...]:
    """Every certificate of ``pem``, in the order of the text; at least one.

    Raises InvalidCertificateError: the text is empty or too long, holds no PEM block, a block of another kind (a
    private key, say), too many blocks, or a block that is not a certificate.
    """
    blocks = _blocks(_bytes(pem))
    if len(blocks) > MAX_CERTIFICATES:
        raise InvalidCertificateError(f"found {len(blocks)} certificates, expected {MAX_CERTIFICATES} at most")
    return tuple(
        _certificate(label, base64, where=f"block {index} of {len(blocks)}")
        for index, (label, base64) in enumerate(blocks, start=1)
    )


def certificate_of(pem: bytes | str) -> x509.Certificate:
    """The first certificate of ``pem``; raises InvalidCertificateError as ``certificates_of``."""
    return certificates_of(pem)[0]


def certificate_of_der(der: bytes) -> x509.Certificate:
    """The certificate in ``der``; raises InvalidCertificateError: it is too long, or a part of it cannot be read."""
    if len(der) > MAX_PEM_BYTES:
        raise InvalidCertificateError(f"the certificate is {len(der)} bytes long, expected {MAX_PEM_BYTES} at most")
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _ = (certificate.extensions, certificate.subject, certificate.issuer, certificate.version)
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature_hash_algorithm)
    except _UNREADABLE as error:
        raise InvalidCertificateError(f"not a certificate that can be read: {_first_line(error)}") from error
    return certificate


def private_key_of(pem: bytes | str) -> PrivateKey:
    """The unencrypted EC or RSA private key in ``pem``.

    Raises InvalidCertificateError: there is none, it is encrypted, of another kind, or an RSA key under 2048 bits.
    The message never holds any of the text.
    """
    text = _bytes(pem)
    if len(text) > MAX_PEM_BYTES:
        raise InvalidCertificateError(f"the key is {len(text)} bytes long, expected {MAX_PEM_BYTES} at most")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError as error:
        raise InvalidCertificateError("the private key is encrypted: expected one without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidCertificateError("not a PEM private key (EC or RSA)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidCertificateError("the private key is neither an EC nor an RSA key")
    check_strength(key.public_key())
    return key


def check_strength(key: object) -> PublicKey:
    """``key``, if it is one that Envoy and this project both take: EC P-256 or P-384, or RSA of 2048 bits and more.

    Raises InvalidCertificateError otherwise.
    """
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case ec.EllipticCurvePublicKey():
            raise InvalidCertificateError(f"the key is on the curve {key.curve.name}: expected P-256 or P-384")
        case rsa.RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return key
        case rsa.RSAPublicKey():
            raise InvalidCertificateError(f"the RSA key has {key.key_size} bits: expected {MIN_RSA_BITS} at least")
        case _:
            raise InvalidCertificateError("the key is neither an EC nor an RSA key")


def certificates_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates one after the other as PEM."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def private_key_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _bytes(pem: bytes | str) -> bytes:
    """ConfigMaps hold text, Secrets and files hold bytes."""
    return pem.encode(errors="replace") if isinstance(pem, str) else pem


def _blocks(pem: bytes) -> list[tuple[bytes, bytes]]:
    if not pem.strip():
        raise InvalidCertificateError("the text is empty: expected a PEM certificate")
    if len(pem) > MAX_PEM_BYTES:
        raise InvalidCertificateError(f"the text is {len(pem)} bytes long, expected {MAX_PEM_BYTES} at most")
    blocks: list[tuple[bytes, bytes]] = _BLOCK.findall(pem)
    if begun := pem.count(_BEGIN) - len(blocks):
        raise InvalidCertificateError(f"{begun} PEM block(s) do not end as they begin: the text is cut or damaged")
    if not blocks:
        raise InvalidCertificateError("not PEM: expected a line -----BEGIN CERTIFICATE-----")
    return blocks


def _certificate(label: bytes, base64: bytes, *, where: str) -> x509.Certificate:
    if label != b"CERTIFICATE":
        raise InvalidCertificateError(f"{where} is a {label.decode()}: expected a CERTIFICATE")
    try:
        return certificate_of_der(b64decode(b"".join(base64.split()), validate=True))
    except binascii.Error as error:
        raise InvalidCertificateError(f"{where} is not base64: the text is cut or damaged") from error
    except InvalidCertificateError as error:
        raise InvalidCertificateError(f"{where} is {error}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
