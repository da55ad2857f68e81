"""The certificate authority: what it issues, what it refuses, and what may be its material."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from tests.identity.corpus import CA, DAY, NOW, OTHER_P256, P256, P384, RSA2048, WEAK_RSA, Recipe, name

from isthmus.identity import (
    CLOCK_SKEW,
    Authority,
    ExpiredAuthorityError,
    InvalidAuthorityError,
    InvalidRequestError,
    SpiffeId,
    TrustDomain,
    certificates_pem,
    path_to_root,
    requested_key,
    signing_request,
    spiffe_id_of,
)
from isthmus.identity.pem import PrivateKey, private_key_pem
from isthmus.identity.request import MAX_REQUEST_BYTES

RED = TrustDomain("red-mesh.local")
EGRESS = SpiffeId.service_account(RED, namespace="red-mesh-system", account="egress")
REQUEST = signing_request(P256, EGRESS)
HOUR = timedelta(hours=1)
KEYS: dict[str, PrivateKey] = {"P-256": P256, "P-384": P384, "RSA": RSA2048}


def issued(
    authority: Authority, request: bytes = REQUEST, *, lifetime: timedelta = HOUR
) -> tuple[x509.Certificate, ...]:
    """A chain for the egress gateway."""
    return authority.issue(request, spiffe_id=EGRESS, lifetime=lifetime, now=NOW)


def three_levels(root_key: PrivateKey = P384, ca_key: PrivateKey = RSA2048) -> dict[str, bytes]:
    """A root, an intermediate and a CA as the Secret ``cacerts`` holds them."""
    root = replace(CA, key=root_key).self_signed()
    middle = replace(CA, subject="middle", key=OTHER_P256).signed_by("root", root_key)
    ca = replace(CA, subject="ca", key=ca_key).signed_by("middle", OTHER_P256)
    return {
        "ca_cert": certificates_pem([ca]),
        "ca_key": private_key_pem(ca_key),
        "cert_chain": certificates_pem([ca, middle, root]),
        "root_cert": certificates_pem([root]),
    }


@pytest.mark.parametrize("key", KEYS)
def test_an_independent_verifier_accepts_what_is_issued(key: str) -> None:
    """A leaf of a self-signed CA passes the verifier of another implementation, as client."""
    authority = Authority.self_signed(RED, now=NOW)
    leaf, *intermediates = issued(authority, signing_request(KEYS[key], EGRESS))
    verifier = PolicyBuilder().store(Store(list(authority.roots))).time(NOW).build_client_verifier()
    assert verifier.verify(leaf, intermediates).chain == [leaf, *authority.roots]


def test_a_leaf_proves_one_identity_and_signs_nothing() -> None:
    """X509-SVID §3 and §4: one URI name, digitalSignature only, both purposes, no CA; empty subject, critical names."""
    (leaf,) = issued(Authority.self_signed(RED, now=NOW))
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert spiffe_id_of(leaf) == EGRESS
    assert usage.critical
    assert usage.value.digital_signature
    assert not any((usage.value.key_encipherment, usage.value.key_cert_sign, usage.value.crl_sign))
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(str(EGRESS))]
    assert set(purposes.value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert leaf.subject == name("")


def test_an_rsa_leaf_may_encipher_keys() -> None:
    """RSA key exchange of TLS 1.2 needs keyEncipherment."""
    (leaf,) = issued(Authority.self_signed(RED, now=NOW), signing_request(RSA2048, EGRESS))
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment


def test_the_identity_is_the_callers_word_not_the_requests() -> None:
    """A request that names somebody else gets a certificate for whom the CA says."""
    somebody = signing_request(P256, SpiffeId.service_account(RED, namespace="kube-system", account="admin"))
    assert spiffe_id_of(issued(Authority.self_signed(RED, now=NOW), somebody)[0]) == EGRESS


def test_a_server_gets_its_dns_names_beside_its_identity() -> None:
    """DNS names are added to, not put in the place of, the one URI name."""
    svid = Authority.self_signed(RED, now=NOW).issue_svid(
        EGRESS, lifetime=HOUR, now=NOW, dns_names=("istiod-red-mesh.red-mesh-system.svc",)
    )
    names = svid.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod-red-mesh.red-mesh-system.svc"]
    assert svid.spiffe_id == EGRESS


def test_a_leaf_is_valid_a_little_before_it_is_issued() -> None:
    """Clocks differ: the time starts two minutes earlier and ends as asked."""
    (leaf,) = issued(Authority.self_signed(RED, now=NOW))
    assert leaf.not_valid_before_utc == NOW - CLOCK_SKEW
    assert leaf.not_valid_after_utc == NOW + HOUR


def test_a_leaf_never_outlives_its_ca() -> None:
    """A lifetime beyond the CA's is cut to it."""
    authority = Authority.self_signed(RED, now=NOW, lifetime=HOUR)
    assert issued(authority, lifetime=DAY)[0].not_valid_after_utc == NOW + HOUR


def test_an_expired_ca_issues_nothing() -> None:
    """Past its time a CA refuses, rather than sign what nobody accepts."""
    authority = Authority.self_signed(RED, now=NOW - 2 * DAY, lifetime=DAY)
    with pytest.raises(ExpiredAuthorityError, match="expired at 2026-05-31"):
        issued(authority)


def test_a_lifetime_that_is_not_positive_is_refused() -> None:
    """Nobody asks for a certificate of the past."""
    with pytest.raises(InvalidRequestError, match="not positive"):
        issued(Authority.self_signed(RED, now=NOW), lifetime=timedelta())


def unproved_request() -> bytes:
    """A request whose signature was made for other content."""
    der = bytearray(x509.load_pem_x509_csr(REQUEST).public_bytes(serialization.Encoding.DER))
    der[der.find(b"egress")] = ord("E")
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


def request_with(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A request for a key of any kind."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(""))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("request_pem", "said"),
    [
        pytest.param(b"", "not a PEM certificate signing request", id="empty"),
        pytest.param(CA.self_signed().public_bytes(serialization.Encoding.PEM), "not a PEM", id="a certificate"),
        pytest.param(REQUEST[:100], "not a PEM certificate signing request", id="cut"),
        pytest.param(b"x" * (MAX_REQUEST_BYTES + 1), "bytes long", id="too long"),
        pytest.param(unproved_request(), "does not prove", id="signature of other content"),
        pytest.param(request_with(WEAK_RSA), "1024 bits", id="weak RSA key"),
        pytest.param(request_with(ec.generate_private_key(ec.SECP256K1())), "secp256k1", id="unknown curve"),
    ],
)
def test_a_request_that_proves_nothing_is_refused(request_pem: bytes, said: str) -> None:
    """What is no request, proves no key, or is for a key that is too weak."""
    with pytest.raises(InvalidRequestError, match=said):
        requested_key(request_pem)


@pytest.mark.parametrize("root_key", KEYS)
@pytest.mark.parametrize("ca_key", KEYS)
def test_a_ca_with_intermediates_issues_chains_that_reach_the_root(root_key: str, ca_key: str) -> None:
    """EC and RSA material, three levels: the chain sent is leaf, CA, intermediate; the root is not in it."""
    authority = Authority.load(**three_levels(KEYS[root_key], KEYS[ca_key]), now=NOW)
    chain = issued(authority)
    assert [one.subject for one in chain] == [name(""), name("ca"), name("middle")]
    assert path_to_root(chain[0], intermediates=chain[1:], roots=authority.roots, now=NOW) == (*chain, *authority.roots)


def test_a_ca_survives_being_written_and_read() -> None:
    """The four texts of the Secret say all that there is."""
    authority = Authority.self_signed(RED, now=NOW)
    again = Authority.load(
        ca_cert=authority.ca_cert_pem,
        ca_key=authority.ca_key_pem,
        cert_chain=authority.cert_chain_pem,
        root_cert=authority.root_cert_pem,
        now=NOW,
    )
    assert (again.certificate, again.intermediates, again.roots) == (authority.certificate, (), authority.roots)
    assert "rivate" not in repr(authority)


def test_an_empty_chain_is_enough_under_a_root() -> None:
    """A CA that a root signed is itself the only intermediate."""
    parts = three_levels()
    root = replace(CA, key=P384).self_signed()
    ca = replace(CA, subject="ca", key=P256).signed_by("root", P384)
    parts = {"ca_cert": certificates_pem([ca]), "ca_key": private_key_pem(P256), "cert_chain": b""}
    authority = Authority.load(**parts, root_cert=certificates_pem([root]), now=NOW)
    assert authority.intermediates == (ca,)


def test_several_roots_are_kept_for_a_rotation() -> None:
    """All roots of ``root-cert.pem`` are trusted; one of them is the chain's end."""
    parts = three_levels()
    new_root = replace(CA, subject="new root").self_signed()
    authority = Authority.load(**{**parts, "root_cert": certificates_pem([new_root]) + parts["root_cert"]}, now=NOW)
    assert [one.subject for one in authority.roots] == [name("new root"), name("root")]


def with_parts(**changed: bytes) -> dict[str, bytes]:
    """The three levels with some of the texts replaced."""
    return {**three_levels(), **changed}


def single(recipe: Recipe) -> dict[str, bytes]:
    """A CA that is its own root."""
    pem = certificates_pem([recipe.self_signed()])
    return {"ca_cert": pem, "ca_key": private_key_pem(recipe.key), "cert_chain": b"", "root_cert": pem}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        pytest.param(with_parts(ca_key=private_key_pem(P256)), "not that of the certificate", id="key of another"),
        pytest.param(with_parts(ca_key=b"x"), "ca-key.pem: not a PEM private key", id="no key"),
        pytest.param(with_parts(ca_cert=b""), "ca-cert.pem: the text is empty", id="no certificate"),
        pytest.param(with_parts(cert_chain=b"x"), "cert-chain.pem: not PEM", id="damaged chain"),
        pytest.param(with_parts(root_cert=b"x"), "root-cert.pem: not PEM", id="no root"),
        pytest.param(with_parts(cert_chain=b""), "issuer 'CN=middle' of 'CN=ca' is neither", id="intermediate missing"),
        pytest.param(
            with_parts(root_cert=certificates_pem([CA.self_signed()])),
            "did not sign it",
            id="root of the same name with another key",
        ),
        pytest.param(
            with_parts(root_cert=certificates_pem([replace(CA, subject="stranger").self_signed()])),
            "does not reach the root",
            id="another root",
        ),
        pytest.param(single(replace(CA, ca=False)), "not a CA", id="not a CA"),
        pytest.param(single(replace(CA, not_after=NOW - HOUR)), "expired at", id="expired"),
        pytest.param(single(replace(CA, not_before=NOW + HOUR)), "not valid before", id="not yet valid"),
    ],
)
def test_material_that_does_not_fit_is_refused(parts: dict[str, bytes], said: str) -> None:
    """The message names the file and what is wrong with it."""
    with pytest.raises(InvalidAuthorityError, match=said):
        Authority.load(**parts, now=NOW)


def test_a_path_length_is_respected() -> None:
    """RFC 5280 §4.2.1.9: a root that allows no CA below it but its direct child refuses a longer chain."""
    root = replace(CA, key=P384, path_length=0).self_signed()
    middle = replace(CA, subject="middle", key=OTHER_P256).signed_by("root", P384)
    ca = replace(CA, subject="ca").signed_by("middle", OTHER_P256)
    parts = {"ca_cert": certificates_pem([ca]), "ca_key": private_key_pem(P256)}
    with pytest.raises(InvalidAuthorityError, match="allows 0 CAs below it"):
        Authority.load(**parts, cert_chain=certificates_pem([middle]), root_cert=certificates_pem([root]), now=NOW)


def test_a_dead_end_does_not_hide_the_way_to_the_root() -> None:
    """Two certificates of one CA, cross-signed: the one that leads to the root is found, whatever the order."""
    root = replace(CA, key=P384).self_signed()
    astray = replace(CA, subject="middle", key=OTHER_P256).signed_by("unknown", RSA2048)
    middle = replace(CA, subject="middle", key=OTHER_P256).signed_by("root", P384)
    ca = replace(CA, subject="ca").signed_by("middle", OTHER_P256)
    assert path_to_root(ca, intermediates=(astray, middle), roots=(root,), now=NOW) == (ca, middle, root)
