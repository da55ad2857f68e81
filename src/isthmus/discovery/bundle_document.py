"""A trust bundle as the document that meshes exchange: a JWK set.

Source: SPIFFE trust domain and bundle §4 (use ``x509-svid``, ``x5c`` with exactly one certificate,
``spiffe_refresh_hint``), RFC 7517 and RFC 7518 §6 for the keys.
"""

import base64
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from isthmus.identity import (
    InvalidBundleError,
    InvalidCertificateError,
    TrustBundle,
    TrustDomain,
    certificate_of_der,
)

REFRESH_HINT_S: Final = 300
"""How often a peer should ask again: roots overlap for days when they are rotated, minutes are soon enough."""
MAX_BUNDLE_BYTES: Final = 1024 * 1024
MAX_ROOTS: Final = 100
_USE: Final = "x509-svid"
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


class _Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    kty: str
    use: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""
    x5c: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    keys: Annotated[tuple[_Jwk, ...], msgspec.Meta(max_length=MAX_ROOTS)]
    spiffe_refresh_hint: int = REFRESH_HINT_S


def encode_trust_bundle(bundle: TrustBundle, *, refresh_hint_s: int = REFRESH_HINT_S) -> bytes:
    """The bundle's document; raises InvalidCertificateError: a root has a key that is neither EC nor RSA."""
    keys = tuple(_jwk(root) for root in bundle.roots)
    return msgspec.json.encode(_Document(keys=keys, spiffe_refresh_hint=refresh_hint_s))


def parse_trust_bundle(trust_domain: TrustDomain, document: bytes) -> TrustBundle:
    """Read a peer's document as the bundle of ``trust_domain``; keys for another use than X.509 are left out.

    Raises InvalidBundleError: too long, not such a document, or a root that is none.
    """
    if len(document) > MAX_BUNDLE_BYTES:
        raise InvalidBundleError(f"Invalid trust bundle of {trust_domain}: longer than {MAX_BUNDLE_BYTES} bytes")
    try:
        keys = msgspec.json.decode(document, type=_Document).keys
        return TrustBundle.of(trust_domain, [_root(jwk) for jwk in keys if jwk.use == _USE])
    except (ValueError, RecursionError) as error:
        raise InvalidBundleError(f"Invalid trust bundle of {trust_domain}: {error}") from error


def _jwk(root: x509.Certificate) -> _Jwk:
    x5c = (base64.b64encode(root.public_bytes(Encoding.DER)).decode("ascii"),)
    match root.public_key():
        case ec.EllipticCurvePublicKey() as key:
            point, size = key.public_numbers(), (key.key_size + 7) // 8
            curve = _CURVES[key.curve.name]
            return _Jwk("EC", _USE, crv=curve, x=_base64url(point.x, size), y=_base64url(point.y, size), x5c=x5c)
        case rsa.RSAPublicKey() as key:
            numbers = key.public_numbers()
            return _Jwk("RSA", _USE, n=_base64url(numbers.n), e=_base64url(numbers.e), x5c=x5c)
        case key:
            raise InvalidCertificateError(f"a root's key is of type {type(key).__name__}: expected EC or RSA")


def _root(jwk: _Jwk) -> x509.Certificate:
    if len(jwk.x5c) != 1:
        raise InvalidCertificateError(f"a key has {len(jwk.x5c)} certificates: expected exactly one")
    return certificate_of_der(base64.b64decode(jwk.x5c[0], validate=True))


def _base64url(number: int, size: int | None = None) -> str:
    content = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
