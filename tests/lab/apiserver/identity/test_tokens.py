"""Service account tokens and the cluster's CA."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from isthmus.lab.apiserver.identity.authority import certificate_user, load_authority, new_authority
from isthmus.lab.apiserver.identity.tokens import Binding, Grant, Named, TokenKey, TokenRefusedError, load_token_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRANT = Grant(Binding("shop", Named("bob", "1"), pod=Named("one", "2")), ("istio-ca",), timedelta(hours=1))


@pytest.fixture
def key(tmp_path: Path) -> TokenKey:
    return load_token_key(tmp_path / "sa.key")


def test_a_token_says_what_was_granted(key: TokenKey) -> None:
    """Subject, audiences, expiry and what it is bound to come back out of the token."""
    token, expires = key.sign(GRANT, now=NOW)
    claims = key.verify(token, now=NOW)
    assert (claims.sub, claims.aud, claims.binding) == ("system:serviceaccount:shop:bob", ["istio-ca"], GRANT.binding)
    assert expires == NOW + timedelta(hours=1)


def test_a_token_ends(key: TokenKey) -> None:
    """At its expiry a token is refused, and before its time as well."""
    token, expires = key.sign(GRANT, now=NOW)
    with pytest.raises(TokenRefusedError, match="expired"):
        key.verify(token, now=expires)
    with pytest.raises(TokenRefusedError, match="not valid yet"):
        key.verify(token, now=NOW - timedelta(hours=1))


def test_a_key_outlives_the_server_and_others_are_refused(tmp_path: Path) -> None:
    """Tokens hold after a restart; those of another cluster never do. The key is its owner's alone."""
    path = tmp_path / "sa.key"
    token, _ = load_token_key(path).sign(GRANT, now=NOW)
    assert load_token_key(path).verify(token, now=NOW).sub.endswith(":bob")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TokenRefusedError, match="not signed by this cluster"):
        load_token_key(tmp_path / "other.key").verify(token, now=NOW)


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def changed(token: str) -> str:
    header, claims, signature = token.split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    body["sub"] = "system:serviceaccount:kube-system:admin"
    return f"{header}.{base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        changed,
        lambda _: "",
        lambda _: "a.b.c",
        lambda one: one[:-2],
        lambda one: one + "." + one,
        lambda _: "x" * 20_000,
    ],
)
def test_forged_tokens_are_refused(key: TokenKey, forge: object) -> None:
    """Without our signature over exactly these claims there is no token."""
    assert callable(forge)
    token, _ = key.sign(GRANT, now=NOW)
    with pytest.raises(TokenRefusedError):
        key.verify(forge(token), now=NOW)


def test_the_authority_is_kept_and_names_servers_and_users(tmp_path: Path) -> None:
    """The CA is made once; a server's certificate holds for its names, a client's says who it is."""
    authority = load_authority(tmp_path, now=NOW)
    assert load_authority(tmp_path, now=NOW).pem == authority.pem
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    serving = x509.load_pem_x509_certificate(authority.serving(["127.0.0.1", "localhost"], now=NOW).certificate)
    serving.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    client = x509.load_pem_x509_certificate(authority.client("ann", ["devs"], now=NOW).certificate)
    user = certificate_user(client.public_bytes(serialization.Encoding.DER))
    assert user is not None
    assert (user.name, user.groups) == ("ann", ("devs", "system:authenticated"))
    assert new_authority(now=NOW).pem != authority.pem
