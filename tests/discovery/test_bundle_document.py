"""A trust bundle survives its way as a document, and only a bundle does."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.discovery.mesh import DOMAIN
from tests.identity.corpus import CA, P256, P384, RSA2048

from isthmus.discovery import encode_trust_bundle, parse_trust_bundle
from isthmus.identity import InvalidBundleError, TrustBundle

BUNDLE = TrustBundle.of(DOMAIN, [replace(CA, key=key).self_signed() for key in (P256, P384, RSA2048)])


def test_round_trip() -> None:
    """Roots with EC and RSA keys come back as they were, in their order."""
    assert parse_trust_bundle(DOMAIN, encode_trust_bundle(BUNDLE)) == BUNDLE


def test_the_document_is_a_spiffe_bundle() -> None:
    """SPIFFE bundle §4.2: use x509-svid, one certificate in x5c, and the members that RFC 7518 asks for."""
    document = json.loads(encode_trust_bundle(BUNDLE, refresh_hint_s=60))
    assert document["spiffe_refresh_hint"] == 60
    assert [(key["kty"], key["use"], len(key["x5c"])) for key in document["keys"]] == [
        ("EC", "x509-svid", 1),
        ("EC", "x509-svid", 1),
        ("RSA", "x509-svid", 1),
    ]
    assert [key.get("crv") for key in document["keys"]] == ["P-256", "P-384", None]
    assert document["keys"][2]["e"] == "AQAB"
    assert [len(_decoded(key[member])) for key in document["keys"][:2] for member in "xy"] == [32, 32, 48, 48]


def test_keys_for_other_uses_are_left_out() -> None:
    """A bundle may carry JWT keys too; they vouch for no certificate."""
    document = json.loads(encode_trust_bundle(BUNDLE))
    document["keys"].append({"kty": "EC", "use": "jwt-svid", "crv": "P-256", "x": "", "y": "", "kid": "a"})
    assert parse_trust_bundle(DOMAIN, json.dumps(document).encode()) == BUNDLE


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"keys":[]}',
        b'{"keys":[{"kty":"EC","use":"x509-svid"}]}',
        b'{"keys":[{"kty":"EC","use":"x509-svid","x5c":["a","b"]}]}',
        b'{"keys":[{"kty":"EC","use":"x509-svid","x5c":["%%%"]}]}',
        b'{"keys":[{"kty":"EC","use":"x509-svid","x5c":["AAAA"]}]}',
        b'{"keys":' + b"[" * 100_000,
        b" " * 2_000_000,
    ],
    ids=["empty", "a list", "no key", "no certificate", "two", "not base64", "not DER", "nested", "too long"],
)
def test_what_is_no_bundle_is_refused(document: bytes) -> None:
    """A peer's document that is no bundle raises one error; it never becomes an empty bundle."""
    with pytest.raises(InvalidBundleError):
        parse_trust_bundle(DOMAIN, document)


def test_a_leaf_is_no_root() -> None:
    """A certificate that is not a CA does not become a root by being published."""
    leaf: Any = json.loads(encode_trust_bundle(BUNDLE))
    der = replace(CA, ca=False).self_signed()
    leaf["keys"][0]["x5c"] = [base64.b64encode(der.public_bytes(Encoding.DER)).decode()]
    with pytest.raises(InvalidBundleError, match="CA:FALSE"):
        parse_trust_bundle(DOMAIN, json.dumps(leaf).encode())


def _decoded(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "==")
