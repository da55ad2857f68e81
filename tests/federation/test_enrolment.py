"""What an inviter makes of a message: who has proved what, and what is refused."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.federation.meshes import NOW, OPEN, SURROUNDINGS, TOKEN, introduction, message

from isthmus.federation.enrolment import (
    MAX_BODY_BYTES,
    SCHEME,
    STATUS,
    MalformedEnrolmentError,
    OpenInvitation,
    Refusal,
    Welcome,
    judge,
    parse_answer,
    parse_enrolment,
    parse_invitation,
    prove,
)

BODY = message()
PROOF = prove(TOKEN.key, OPEN.id, BODY)
GREEN = introduction("green", "red")


def judged(body: bytes = BODY, proof: str | None = None, *invitations: OpenInvitation, **more: object) -> object:
    arguments = {"surroundings": SURROUNDINGS, "now": NOW, "invitations": invitations or (OPEN,), **more}
    return judge(prove(TOKEN.key, OPEN.id, body) if proof is None else proof, body, **arguments)  # type: ignore[arg-type]


def refused(verdict: object) -> str:
    assert isinstance(verdict, Refusal)
    return verdict.answer.reason


def test_a_check_changes_nothing() -> None:
    """Asking first leaves the invitation as it is, and needs no address yet."""
    verdict = judged(message("check", joiner=msgspec.structs.replace(GREEN, addresses=())))
    assert isinstance(verdict, Welcome)
    assert verdict.used is None
    assert verdict.answer.reason == "Checked"


def test_an_enrolment_uses_the_invitation_up() -> None:
    """The joiner is welcome once: with the invitation as it is then, any other message is refused, a check too."""
    verdict = judged()
    assert isinstance(verdict, Welcome)
    assert verdict.used is not None
    assert verdict.joiner == GREEN
    for other in (message(nonce="b" * 32), message("check"), message("check", nonce="b" * 32)):
        again = judged(other, None, verdict.used)
        assert refused(again) == "Used"
        assert isinstance(again, Refusal)
        assert again.peer == "green-mesh"


def test_a_lost_answer_can_be_asked_for_again() -> None:
    """The very same message is granted again, though the peer is there by now."""
    first = judged()
    assert isinstance(first, Welcome)
    assert first.used is not None
    there = replace(SURROUNDINGS, peers={"green-mesh": "green.local"})
    assert judged(BODY, None, first.used, surroundings=there) == replace(first, invitation=first.used)


@given(st.integers(0, len(BODY) * 8 - 1))
def test_every_changed_bit_of_a_message_is_refused(bit: int) -> None:
    """Whoever changes anything on the way proves nothing."""
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert refused(judged(bytes(changed), PROOF)) == "NotProven"


@given(st.integers(0, len(PROOF) * 8 - 1))
def test_every_changed_bit_of_a_proof_is_refused(bit: int) -> None:
    """There is one proof of a message."""
    changed = bytearray(PROOF.encode())
    changed[bit // 8] ^= 1 << bit % 8
    assert refused(judged(BODY, changed.decode("latin-1"))) == "NotProven"


@given(st.text(), st.binary(max_size=200))
def test_outsiders_learn_nothing(proof: str, body: bytes) -> None:
    """No proof, a wrong one, and one for an invitation that is not there, used or expired, get the same answer."""
    used = msgspec.structs.replace(OPEN, accepted="0" * 64)
    answers = {
        verdict.answer
        for verdict in (
            judged(body, proof),
            judged(body, f"{SCHEME} {OPEN.id}.{'0' * 64}"),
            judged(body, f"{SCHEME} {'f' * 32}.{'0' * 64}"),
            judged(body, prove(bytes(32), "f" * 32, body)),
            judged(body, f"{SCHEME} {OPEN.id}.{'0' * 64}", used),
            judged(body, f"{SCHEME} {OPEN.id}.{'0' * 64}", now=NOW + timedelta(days=1)),
            judge("", body, invitations=(), surroundings=SURROUNDINGS, now=NOW),
        )
        if isinstance(verdict, Refusal)
    }
    (answer,) = answers
    assert answer.reason == "NotProven"


def test_nobodys_key_opens_nothing() -> None:
    """The key that stands in for an unknown invitation's is no key of one."""
    body = message()
    for invitation_id in ("f" * 32, OPEN.id):
        assert refused(judged(body, prove(bytes(32), invitation_id, body))) == "NotProven"


@given(st.binary(max_size=300))
def test_foreign_bytes_are_read_or_refused(body: bytes) -> None:
    """A proven message that is none is an answer, never an error."""
    assert refused(judged(body)) == "Malformed"
    for parse in (parse_enrolment, parse_answer, parse_invitation):
        with pytest.raises(MalformedEnrolmentError):
            parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    ),
    st.sampled_from(["phase", "nonce", "joiner", "mesh", "root", "addresses", "clientId", "discoveryPort", "more"]),
)
def test_fields_of_any_type_are_read_or_refused(value: object, name: str) -> None:
    """Whatever stands in one field, it ends in a verdict."""
    document = msgspec.json.decode(BODY)
    (document if name in document else document["joiner"])[name] = value
    assert isinstance(judged(msgspec.json.encode(document)), Refusal | Welcome)


def test_what_is_too_long_is_not_read() -> None:
    """Neither is a body that nests without end."""
    for body in (b" " * (MAX_BODY_BYTES + 1), b"[" * MAX_BODY_BYTES):
        assert refused(judged(body)) == "Malformed"


@pytest.mark.parametrize(
    ("joiner", "reason"),
    [
        ({"mesh": "blue-mesh"}, "WrongMesh"),
        ({"addresses": ()}, "InvalidIntroduction"),
        ({"addresses": ("127.0.0.1",)}, "InvalidIntroduction"),
        ({"root": "nonsense"}, "InvalidIntroduction"),
        ({"trust_domain": "red.local"}, "InvalidIntroduction"),
    ],
)
def test_joiners_that_are_not_welcome(joiner: dict[str, object], reason: str) -> None:
    """Who has the token is still checked."""
    assert refused(judged(message(joiner=msgspec.structs.replace(GREEN, **joiner)))) == reason


@pytest.mark.parametrize("taken", ["red", "blue"])
def test_nobody_elses_trust_domain(taken: str) -> None:
    """Roots are never taken for a trust domain that is ours or another peer's: they could vouch for its identities."""
    thief = introduction(taken, "red")
    joiner = msgspec.structs.replace(
        thief,
        mesh="green-mesh",
        namespace="green-mesh-system",
        root=GREEN.root,
        client_id=f"{taken}.local/ns/green-mesh-system/sa/x",
    )
    assert refused(judged(message(joiner=joiner))) == "TrustDomainTaken"
    assert refused(judged(message("check", joiner=joiner))) == "TrustDomainTaken"


def test_a_peer_that_is_there_stays() -> None:
    """An invitation adds a peer and changes none, nor the roots that somebody has given."""
    there = replace(SURROUNDINGS, peers={"green-mesh": "green.local"})
    assert refused(judged(message("check"), surroundings=there)) == "PeerExists"
    for root, expected in (("others", Refusal), ("", Refusal), (GREEN.root, Welcome)):
        given = replace(SURROUNDINGS, roots={"green-mesh-ca-root-cert": root})
        assert isinstance(judged(message("check"), surroundings=given), expected)


def test_a_deleted_peer_does_not_come_back() -> None:
    """Once the peer was made, the same message is granted and nothing is to be done."""
    first = judged()
    assert isinstance(first, Welcome)
    assert first.used is not None
    again = judged(BODY, None, msgspec.structs.replace(first.used, is_done=True))
    assert isinstance(again, Welcome)
    assert again.answer.reason == "Enrolled"
    assert again.used is None


def test_an_expired_invitation_is_told_to_who_has_it() -> None:
    """The clock that counts is ours, to the second."""
    assert isinstance(judged(now=OPEN.expires_at), Welcome)
    assert refused(judged(now=OPEN.expires_at + timedelta(seconds=1))) == "Expired"


def test_secrets_are_in_no_representation() -> None:
    """What is logged of an invitation by accident opens nothing."""
    assert TOKEN.key.hex() not in repr(OPEN)
    assert TOKEN.key.hex() not in repr(judged())


def test_every_reason_has_a_status() -> None:
    """Grants are 200, refusals are the caller's errors."""
    assert {reason for reason, status in STATUS.items() if status == 200} == {"Checked", "Enrolled"}
    assert all(400 <= status < 500 for status in STATUS.values() if status != 200)
