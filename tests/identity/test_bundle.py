"""Trust bundles: the roots of one trust domain."""

from dataclasses import replace

import pytest
from tests.identity.corpus import BROKEN_ROOTS, CA, DAY, NOW, P384, RSA2048

from isthmus.identity import InvalidBundleError, TrustBundle, TrustDomain, certificates_pem, fingerprint

RED = TrustDomain("red-mesh.local")
ROOTS = (CA.self_signed(), replace(CA, key=P384).self_signed(), replace(CA, key=RSA2048).self_signed())


def test_a_bundle_survives_being_written_and_read() -> None:
    """Roots keep their order."""
    bundle = TrustBundle.of(RED, ROOTS)
    assert TrustBundle.parse(RED, bundle.pem()) == bundle
    assert bundle.roots == ROOTS


def test_a_root_given_twice_is_kept_once() -> None:
    """Two copies of a root are one root."""
    assert TrustBundle.parse(RED, certificates_pem([ROOTS[0], ROOTS[1], ROOTS[0]])).roots == ROOTS[:2]


@pytest.mark.parametrize("defect", BROKEN_ROOTS)
def test_a_certificate_that_may_not_sign_is_no_root(defect: str) -> None:
    """A bundle with anything but CAs is refused, and the message says why."""
    recipe, said = BROKEN_ROOTS[defect]
    with pytest.raises(InvalidBundleError, match=said):
        TrustBundle.parse(RED, certificates_pem([ROOTS[1], recipe.self_signed()]))


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", "no certificate"])
def test_what_is_no_bundle_names_the_trust_domain(text: str) -> None:
    """The error of an unreadable bundle names whose it is."""
    with pytest.raises(InvalidBundleError, match=r"Invalid trust bundle of red-mesh\.local: "):
        TrustBundle.parse(RED, text)


def test_an_expired_root_is_reported_and_kept() -> None:
    """A root whose time is over stays in the bundle and is told on request."""
    old = replace(CA, not_after=NOW - DAY / 2).self_signed()
    bundle = TrustBundle.parse(RED, certificates_pem([ROOTS[0], old]))
    assert bundle.roots == (ROOTS[0], old)
    assert bundle.expired(NOW) == (old,)


def test_fingerprints_are_those_of_openssl() -> None:
    """SHA-256, upper-case pairs with colons, one per root."""
    first = TrustBundle.of(RED, ROOTS).fingerprints()[0]
    assert first == fingerprint(ROOTS[0])
    assert len(first) == 32 * 3 - 1
    assert first.replace(":", "").isalnum()
    assert first == first.upper()
