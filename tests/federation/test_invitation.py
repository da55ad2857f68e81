"""Tokens: one spelling, everything else refused with the reason."""

import re
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.federation.meshes import INVITATION, NOW, TOKEN

from isthmus.federation.invitation import PREFIX, InvalidTokenError, Token, _checksum, joining_problem

TEXT = TOKEN.text


def test_a_token_says_what_the_invitation_says() -> None:
    """What is read is what was written, secret and key included."""
    read = Token.parse(TEXT)
    assert read == TOKEN
    assert read.key == TOKEN.key


def test_a_token_fits_into_a_line() -> None:
    """It has characters that no shell and no URL changes, and no more of them than a message takes."""
    assert re.fullmatch(r"[A-Za-z0-9._-]+", TEXT)
    assert len(TEXT) < 2500


def test_white_space_does_not_count() -> None:
    """A paste that was broken into lines is the same token."""
    broken = "\n  ".join(TEXT[start : start + 64] for start in range(0, len(TEXT), 64))
    assert Token.parse(f"\r\n{broken} \n") == TOKEN


@given(st.integers(0, len(TEXT) * 8 - 1))
def test_every_changed_bit_is_refused(bit: int) -> None:
    """Whatever bit of the text is another, it is no token."""
    changed = bytearray(TEXT.encode())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTokenError):
        Token.parse(changed.decode("latin-1"))


@given(st.integers(0, len(TEXT) - 1))
def test_a_text_that_was_cut_is_told_from_a_wrong_one(length: int) -> None:
    """The beginning of a token is refused as incomplete."""
    expected = "incomplete or damaged" if length >= len(PREFIX) else "starts with isthmus1"
    with pytest.raises(InvalidTokenError, match=expected):
        Token.parse(TEXT[:length])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "starts with isthmus1"),
        ("hello", "starts with isthmus1"),
        ("isthmus2.abc.def", "another version"),
        ("x" * 70_000, "longer than"),
        (f"{PREFIX}e30.{_checksum(PREFIX + 'e30')}", "not what isthmus invite prints"),
        (f"{PREFIX}!!.{_checksum(PREFIX + '!!')}", "not what isthmus invite prints"),
        (f"{PREFIX}\u00e9.{_checksum(PREFIX + chr(0xE9))}", "incomplete or damaged"),
    ],
    ids=["empty", "other text", "other version", "long", "empty object", "no base64", "no ascii"],
)
def test_other_texts(text: str, told: str) -> None:
    """What is no token is refused, and the message says what was expected."""
    with pytest.raises(InvalidTokenError, match=told):
        Token.parse(text)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a refusal comes of foreign text, also behind a right checksum."""
    for each in (text, PREFIX + text, f"{PREFIX}{text}.{_checksum(PREFIX + text)}"):
        with pytest.raises(InvalidTokenError):
            Token.parse(each)


def test_a_second_spelling_is_refused() -> None:
    """The same content with the bits set that base64 leaves unused has a right checksum, and is refused."""
    body, _, _ = TEXT.rpartition(".")
    others = [body[:-1] + last for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    for other in others:
        text = f"{other}.{_checksum(other)}"
        if text != TEXT:
            with pytest.raises(InvalidTokenError, match="it is complete"):
                Token.parse(text)


@given(st.integers(0, 32 * 8 - 1))
def test_the_key_depends_on_the_secret(bit: int) -> None:
    """Another secret is another key."""
    other = bytearray(TOKEN.secret)
    other[bit // 8] ^= 1 << bit % 8
    assert Token(INVITATION, bytes(other)).key != TOKEN.key


@pytest.mark.parametrize("field", ["id", "peer", "gateway", "contacts", "expires"])
def test_the_key_depends_on_what_the_token_says(field: str) -> None:
    """A joiner who was told anything else has another key, though the secret is the same."""
    values = {"id": "f" * 32, "peer": "lime-mesh", "contacts": ("192.0.2.66",), "expires": INVITATION.expires + 1}
    values["gateway"] = "red.local/ns/red-mesh-system/sa/other"
    other = msgspec.structs.replace(INVITATION, **{field: values[field]})
    assert Token(other, TOKEN.secret).key != TOKEN.key


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peer": "Green"}, "expected a DNS label"),
        ({"gateway": "blue.local/ns/red-mesh-system/sa/x"}, "is not of the trust domain"),
        ({"gateway": "nonsense"}, "Invalid client id"),
        ({"inviter": msgspec.structs.replace(INVITATION.inviter, addresses=())}, "no address"),
        ({"inviter": msgspec.structs.replace(INVITATION.inviter, addresses=("localhost",))}, "this machine itself"),
        ({"contacts": ("a b",)}, "neither a DNS name"),
    ],
)
def test_tokens_that_say_what_cannot_be(changes: dict[str, object], told: str) -> None:
    """A token that somebody made by hand is checked like any other foreign text."""
    with pytest.raises(InvalidTokenError, match=told):
        Token.parse(Token(msgspec.structs.replace(INVITATION, **changes), TOKEN.secret).text)


def test_the_secret_is_in_no_representation() -> None:
    """What is printed of a token by accident does not let anyone join."""
    assert TOKEN.secret.hex() not in repr(TOKEN)
    assert repr(TOKEN.secret) not in repr(TOKEN)


LATE = INVITATION.expires_at + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("mesh", "trust_domains", "now", "told"),
    [
        ("green-mesh", ["green.local"], NOW, None),
        ("green-mesh", ["green.local"], LATE, None),
        ("green-mesh", ["green.local"], LATE + timedelta(seconds=1), "expired at 2030-01-01T12:15:00Z"),
        ("blue-mesh", ["blue.local"], NOW, "it invites green-mesh, not blue-mesh"),
        ("red-mesh", ["red.local"], NOW, "a token of red-mesh itself"),
        ("green-mesh", ["green.local", "red.local"], NOW, "has the trust domain red.local too"),
    ],
)
def test_who_may_join(mesh: str, trust_domains: list[str], now: datetime, told: str | None) -> None:
    """Only the invited mesh, before the token expires by a clock that may be two minutes off."""
    problem = joining_problem(INVITATION, mesh=mesh, trust_domains=trust_domains, now=now)
    assert problem is None if told is None else told in (problem or "")
