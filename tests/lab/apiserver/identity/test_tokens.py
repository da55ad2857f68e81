"""Service account tokens and the cluster's CA."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from isthmus.lab.apiserver.identity.authenticate import Authenticator
from isthmus.lab.apiserver.identity.authority import certificate_user, load_authority, new_authority
from isthmus.lab.apiserver.identity.login import LoginRefusedError, Logins
from isthmus.lab.apiserver.identity.tokens import (
    Binding,
    Grant,
    Named,
    TokenKey,
    TokenRefusedError,
    base64url,
    load_token_key,
)
from isthmus.lab.apiserver.storage import Window
from isthmus.lab.apiserver.storage.state import State

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


class Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("known", [True, False], ids=["asked before", "new"])
def test_a_clock_that_is_set_ends_tokens_as_they_say(key: TokenKey, known: bool) -> None:
    """A token is good between its two moments by the wall clock, whether it was looked at before or not."""
    clock = Clock()
    state = State(revision=0, compacted=0, window=Window())
    logins = Logins("password", b"secret")
    authenticator = Authenticator(state=state, tokens=key, logins=logins, admin_token="admin", clock=clock)
    token, expires = key.sign(GRANT, now=NOW)
    if known:
        assert authenticator.audiences(token) == ("istio-ca",)
    for clock.now, why in ((NOW - timedelta(hours=1), "not valid yet"), (expires + timedelta(hours=1), "expired")):
        with pytest.raises(TokenRefusedError, match=why):
            authenticator.audiences(token)
    for clock.now in (NOW - timedelta(seconds=30), NOW, expires - timedelta(seconds=1)):
        assert authenticator.audiences(token) == ("istio-ca",)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_leaves_a_login(hours: int) -> None:
    """A token of a day is good an hour before and after, and over at its end; so is a code of a minute."""
    logins, later = Logins("password", b"secret"), NOW + timedelta(hours=hours)
    challenge = base64url(hashlib.sha256(b"verifier").digest())
    for code in ("one", "two"):
        logins.issue_code(code, challenge=challenge, redirect_uri="r", now=NOW)
    token = logins.redeem("one", verifier="verifier", redirect_uri="r", now=NOW)
    assert logins.token_user(token, now=later) is not None
    assert logins.token_user(token, now=NOW + timedelta(hours=24)) is None
    if hours > 0:
        with pytest.raises(LoginRefusedError, match="invalid_grant"):
            logins.redeem("two", verifier="verifier", redirect_uri="r", now=later)
    else:
        assert logins.redeem("two", verifier="verifier", redirect_uri="r", now=later) != token


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_leaves_certificates_valid(tmp_path: Path, hours: int) -> None:
    """A cluster that was made just now can be reached an hour before and after: all its chain is valid then."""
    authority = load_authority(tmp_path, now=NOW)
    leaves = authority.serving(["localhost"], now=NOW), authority.client("ann", [], now=NOW)
    for pem in (authority.pem, *(leaf.certificate for leaf in leaves)):
        certificate = x509.load_pem_x509_certificate(pem)
        then = NOW + timedelta(hours=hours)
        assert certificate.not_valid_before_utc <= then <= certificate.not_valid_after_utc


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


@pytest.mark.parametrize("more", ["=", "!", " ", "\n"])
def test_a_token_that_is_written_otherwise_is_refused(key: TokenKey, more: str) -> None:
    """What no writer of tokens would add is not passed over, even where it changes nothing."""
    token, _ = key.sign(GRANT, now=NOW)
    with pytest.raises(TokenRefusedError, match="malformed"):
        key.verify(token + more, now=NOW)
