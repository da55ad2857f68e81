"""Reading PEM: what is taken, what is refused, and that nothing else can happen."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID
from hypothesis import given
from hypothesis import strategies as st
from tests.identity.corpus import CA, LEAF, NOW, P256, P384, RSA2048, WEAK_RSA, damaged, name

from isthmus.discovery.bundle_document import parse_trust_bundle
from isthmus.identity import (
    InvalidBundleError,
    InvalidCertificateError,
    TrustDomain,
    certificate_of_der,
    certificates_of,
    certificates_pem,
)
from isthmus.identity.pem import MAX_CERTIFICATES, MAX_PEM_BYTES, private_key_of, private_key_pem
from isthmus.mutual_tls import identity_of

ROOT = CA.self_signed()
ROOT_PEM = certificates_pem([ROOT])
KEY_PEM = private_key_pem(P256)


def test_certificates_come_in_the_order_of_the_text() -> None:
    """Text between the blocks is ignored; order and duplicates are kept."""
    leaf = LEAF.signed_by("root", P256)
    text = b"a comment\n" + certificates_pem([leaf]) + b"\n subject=...\n" + ROOT_PEM + ROOT_PEM
    assert certificates_of(text) == (leaf, ROOT, ROOT)


def test_text_and_bytes_are_the_same() -> None:
    """ConfigMaps give text, Secrets give bytes."""
    assert certificates_of(ROOT_PEM.decode()) == certificates_of(ROOT_PEM)


def test_windows_line_ends_are_read() -> None:
    """A file edited elsewhere has CR LF."""
    assert certificates_of(ROOT_PEM.replace(b"\n", b"\r\n")) == (ROOT,)


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b" \n\t", "empty", id="blank"),
        pytest.param(b"hello", "not PEM", id="no PEM"),
        pytest.param(ROOT.public_bytes(serialization.Encoding.DER), "not PEM", id="DER"),
        pytest.param(ROOT_PEM[:-30], "cut or damaged", id="end is missing"),
        pytest.param(ROOT_PEM + ROOT_PEM[:200], "cut or damaged", id="second one is cut"),
        pytest.param(KEY_PEM, "PRIVATE KEY: expected a CERTIFICATE", id="a private key"),
        pytest.param(ROOT_PEM + KEY_PEM, "block 2 of 2 is a PRIVATE KEY", id="a private key behind it"),
        pytest.param(damaged(ROOT_PEM, lambda body: b"?" + body), "not base64", id="not base64"),
        pytest.param(damaged(ROOT_PEM, lambda _: b"AAAA"), "not a certificate", id="not a certificate"),
        pytest.param(damaged(ROOT_PEM, lambda _: b""), "not a certificate", id="no body"),
        pytest.param(ROOT_PEM * (MAX_CERTIFICATES + 1), "expected 100 at most", id="too many"),
        pytest.param(b" " * MAX_PEM_BYTES + ROOT_PEM, "bytes long", id="too long"),
    ],
)
def test_what_is_no_certificate_is_refused_with_the_reason(pem: bytes, said: str) -> None:
    """The message names the block and what is wrong with it, and never holds key material."""
    with pytest.raises(InvalidCertificateError, match=said) as caught:
        certificates_of(pem)
    assert KEY_PEM.splitlines()[1].decode() not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but certificates or InvalidCertificateError comes out, whatever goes in."""
    with pytest.raises(InvalidCertificateError):
        certificates_of(data)


@given(st.data())
def test_a_certificate_with_changed_bytes_is_read_whole_or_refused(data: st.DataObject) -> None:
    """A change to any byte of the DER gives a certificate whose every part can be read, or an error of one line."""
    der = bytearray(ROOT.public_bytes(serialization.Encoding.DER))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    body = serialization_pem(bytes(der))
    try:
        (certificate,) = certificates_of(body)
    except InvalidCertificateError as error:
        assert "\n" not in str(error)  # noqa: PT017  (both ways are right)
    else:
        assert isinstance(list(certificate.extensions), list)
        assert certificate.subject.rfc4514_string() is not None


def with_extension(content: bytes) -> bytes:
    """A certificate in DER whose subject alternative names are these bytes."""
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content)
    builder = x509.CertificateBuilder(name("x"), name("x"), P256.public_key(), 1, NOW, NOW)
    made = builder.add_extension(names, critical=False).sign(P256, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "der",
    [b"", b"x", with_extension(b"garbage"), with_extension(b"\x30\x02\xa3\x00"), b"x" * (MAX_PEM_BYTES + 1)],
    ids=["empty", "no DER", "an extension that is none", "a name of a kind that is not known", "too long"],
)
def test_der_is_read_whole_or_refused(der: bytes) -> None:
    """What cannot be read to the end is an error of ours at once, wherever it comes from."""
    with pytest.raises(InvalidCertificateError):
        certificate_of_der(der)
    with pytest.raises(InvalidCertificateError):
        identity_of(der)
    x5c = base64.b64encode(der).decode()
    document = f'{{"keys": [{{"kty": "EC", "use": "x509-svid", "x5c": ["{x5c}"]}}]}}'
    with pytest.raises(InvalidBundleError):
        parse_trust_bundle(TrustDomain("red.local"), document.encode())


def serialization_pem(der: bytes) -> bytes:
    """Any bytes under the label of a certificate."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("key", [P256, P384, RSA2048], ids=["P-256", "P-384", "RSA"])
def test_a_key_survives_being_written_and_read(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """EC and RSA keys are taken."""
    assert private_key_of(private_key_pem(key)).public_key() == key.public_key()


def pkcs8(key: dsa.DSAPrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, of kinds that the project itself never writes as well."""
    no_encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)


ENCRYPTED = P256.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"secret"),
)


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        pytest.param(b"", "not a PEM private key", id="empty"),
        pytest.param(ROOT_PEM, "not a PEM private key", id="a certificate"),
        pytest.param(ENCRYPTED, "encrypted", id="encrypted"),
        pytest.param(pkcs8(ed25519.Ed25519PrivateKey.generate()), "neither an EC nor an RSA", id="Ed25519"),
        pytest.param(pkcs8(WEAK_RSA), "1024 bits", id="RSA 1024"),
        pytest.param(pkcs8(ec.generate_private_key(ec.SECP521R1())), "secp521r1", id="P-521"),
        pytest.param(b"-" * (MAX_PEM_BYTES + 1), "bytes long", id="too long"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(pem: bytes, said: str) -> None:
    """Kinds and sizes that Envoy would not take, and what is no key."""
    with pytest.raises(InvalidCertificateError, match=said):
        private_key_of(pem)


def test_a_certificate_with_an_extension_twice_is_refused() -> None:
    """RFC 5280 §4.2: an extension occurs once; this shows only when extensions are read, so they are."""
    unrecognized = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")

    builder = x509.CertificateBuilder().subject_name(name("x")).issuer_name(name("x")).public_key(P256.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW)
    certificate = builder.add_extension(unrecognized, critical=False).add_extension(other, critical=False)
    der = certificate.sign(P256, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    twice = der.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")
    with pytest.raises(InvalidCertificateError, match="not a certificate that can be read"):
        certificates_of(serialization_pem(twice))
