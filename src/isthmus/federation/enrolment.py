"""Enrolment: how a mesh that was invited proves it and introduces itself, and what the inviter makes of that.

Two questions with the same message: ``check`` asks whether all would be well and changes nothing; ``enrol`` uses the
invitation up. Every message is proved with the invitation's key, which itself never travels. Who cannot prove
it learns nothing of any invitation, not even whether the one that is named exists. Source: docs/protocol.md §5.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from isthmus.federation.introduction import Introduction, InvalidIntroductionError, root_config_map
from isthmus.federation.invitation import Id
from isthmus.identity import TrustDomain

PATH: Final = "/v1/enrol"
MAX_BODY_BYTES: Final = 64 * 1024
SCHEME: Final = "Isthmus-Enrolment-1"
_PROOF: Final = re.compile(rf"{SCHEME} ([0-9a-f]{{32}})\.([0-9a-f]{{64}})")
_PURPOSE: Final = b"isthmus enrolment message 1\n"
_NOBODYS_KEY: Final = bytes(32)
_Text = Annotated[str, msgspec.Meta(max_length=1024)]
_Message = TypeVar("_Message", bound=msgspec.Struct)

Phase = Literal["check", "enrol"]
Reason = Literal[
    "Checked",
    "Enrolled",
    "NotProven",
    "Malformed",
    "Expired",
    "Used",
    "WrongMesh",
    "InvalidIntroduction",
    "TrustDomainTaken",
    "PeerExists",
]

STATUS: Final[Mapping[Reason, int]] = {
    "Checked": 200,
    "Enrolled": 200,
    "NotProven": 401,
    "Malformed": 400,
    "Expired": 410,
    "Used": 409,
    "WrongMesh": 403,
    "InvalidIntroduction": 422,
    "TrustDomainTaken": 409,
    "PeerExists": 409,
}
"""The HTTP status of each answer."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the joiner sends. ``nonce`` tells one attempt from another, so that a lost answer may be asked for again."""

    phase: Phase
    nonce: Id
    joiner: Introduction


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the inviter says: one word for programs and a sentence for people."""

    reason: Reason
    message: _Text = ""

    @property
    def is_granted(self) -> bool:
        """Whether what was asked for holds."""
        return STATUS[self.reason] == 200


class OpenInvitation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An invitation as the inviter keeps it; ``key`` is ``Token.key`` in hex.

    ``accepted`` is the digest of the one message that used it up, empty while it was not used. ``is_done``: the peer
    was made, which happens once; who asks for the answer again does not bring back a peer that was deleted.
    """

    id: Id
    peer: _Text
    expires: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    ingress: _Text
    egress: _Text
    key: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    accepted: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    is_done: bool = False

    def __repr__(self) -> str:
        """Without the key."""
        return f"OpenInvitation(peer={self.peer!r}, expires={self.expires})"

    @property
    def expires_at(self) -> datetime:
        """From then on nobody may join by it."""
        return datetime.fromtimestamp(self.expires, UTC)


class MalformedEnrolmentError(ValueError):
    """Bytes that should be a message or a stored invitation are none."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing is changed. ``peer`` is who was invited, if the caller has proved to have the invitation."""

    answer: Answer
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The joiner may become a peer; ``used`` is what the invitation is to be, None if nothing is to be done."""

    answer: Answer
    joiner: Introduction
    invitation: OpenInvitation
    used: OpenInvitation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the inviter knows besides its invitations."""

    mesh: str
    trust_domains: Collection[TrustDomain]
    """Those of our own mesh, aliases included."""
    peers: Mapping[str, str]
    """The trust domain of each ServiceMeshPeer that there is, by name."""
    roots: Mapping[str, str] = field(default_factory=dict)
    """The roots in each ConfigMap that there is, by its name; empty if it has none."""


def prove(key: bytes, invitation_id: str, body: bytes) -> str:
    """The value of the header ``authorization`` that goes with this body."""
    return f"{SCHEME} {invitation_id}.{_mac(key, body).hex()}"


def judge(
    authorization: str,
    body: bytes,
    *,
    invitations: Collection[OpenInvitation],
    surroundings: Surroundings,
    now: datetime,
) -> Welcome | Refusal:
    """Decide on a message. ``invitations``: those of the gateway that the message came through.

    An unknown invitation, a wrong proof and no proof at all get one and the same answer.
    """
    invitation = _proven(authorization, body, invitations)
    if invitation is None:
        message = "this proves no invitation: the token is of another mesh, or was revoked or replaced"
        return Refusal(Answer(reason="NotProven", message=message))
    try:
        enrolment = parse_enrolment(body)
        enrolment.joiner.check()
    except MalformedEnrolmentError as error:
        return Refusal(Answer(reason="Malformed", message=str(error)[:1024]), invitation.peer)
    except InvalidIntroductionError as error:
        return Refusal(Answer(reason="InvalidIntroduction", message=str(error)[:1024]), invitation.peer)
    accepted = hashlib.sha256(body).hexdigest()
    problem = _state_problem(invitation, accepted, now) or _joiner_problem(enrolment, invitation)
    if problem is None and invitation.accepted != accepted:
        problem = _clash(enrolment.joiner, invitation.peer, surroundings)
    if problem is not None:
        return Refusal(problem, invitation.peer)
    return _welcome(enrolment, invitation, accepted)


def parse_enrolment(body: bytes) -> Enrolment:
    """Read a message of a joiner. Raises MalformedEnrolmentError."""
    return _parse(body, Enrolment, what="an enrolment")


def parse_answer(body: bytes) -> Answer:
    """Read an inviter's answer. Raises MalformedEnrolmentError."""
    return _parse(body, Answer, what="an answer to an enrolment")


def parse_invitation(body: bytes) -> OpenInvitation:
    """Read a stored invitation. Raises MalformedEnrolmentError, whose text holds nothing of it."""
    return _parse(body, OpenInvitation, what="a stored invitation")


def _welcome(enrolment: Enrolment, invitation: OpenInvitation, accepted: str) -> Welcome:
    if enrolment.phase == "check":
        return Welcome(Answer(reason="Checked"), enrolment.joiner, invitation, None)
    used = None if invitation.is_done else msgspec.structs.replace(invitation, accepted=accepted)
    return Welcome(Answer(reason="Enrolled"), enrolment.joiner, invitation, used)


def _proven(authorization: str, body: bytes, invitations: Collection[OpenInvitation]) -> OpenInvitation | None:
    """The invitation whose key has made the proof; the work is the same whether there is one of that id or not."""
    match = _PROOF.fullmatch(authorization)
    wanted, proof = (match[1], bytes.fromhex(match[2])) if match else ("", b"")
    found = next((each for each in invitations if each.id == wanted), None)
    expected = _mac(bytes.fromhex(found.key) if found is not None else _NOBODYS_KEY, body)
    return found if hmac.compare_digest(expected, proof) else None


def _state_problem(invitation: OpenInvitation, accepted: str, now: datetime) -> Answer | None:
    if invitation.accepted and invitation.accepted != accepted:
        return Answer(
            reason="Used", message=f"the invitation of {invitation.peer} was used already: it is good for once"
        )
    if now > invitation.expires_at:
        message = f"the invitation of {invitation.peer} expired at {invitation.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        return Answer(reason="Expired", message=message)
    return None


def _joiner_problem(enrolment: Enrolment, invitation: OpenInvitation) -> Answer | None:
    joiner = enrolment.joiner
    if joiner.mesh != invitation.peer:
        return Answer(reason="WrongMesh", message=f"{invitation.peer} is invited, not {joiner.mesh}")
    if enrolment.phase == "enrol" and not joiner.addresses:
        return Answer(reason="InvalidIntroduction", message=f"{joiner.mesh} says no address of its ingress gateway")
    return None


def _clash(joiner: Introduction, peer: str, surroundings: Surroundings) -> Answer | None:
    """A trust domain has one mesh: else the roots of the joiner could vouch for identities of someone else."""
    ours, trust_domain = surroundings.mesh, joiner.trust_domain
    if peer in surroundings.peers:
        return Answer(
            reason="PeerExists", message=f"{ours} has a ServiceMeshPeer {peer} already: delete it there first"
        )
    if TrustDomain(trust_domain) in surroundings.trust_domains:
        return Answer(reason="TrustDomainTaken", message=f"{ours} has the trust domain {trust_domain} itself")
    if trust_domain in surroundings.peers.values():
        message = f"another peer of {ours} has the trust domain {trust_domain}"
        return Answer(reason="TrustDomainTaken", message=message)
    config_map = root_config_map(peer)
    if surroundings.roots.get(config_map, joiner.root) != joiner.root:
        message = f"{ours} has a ConfigMap {config_map} with other roots: delete it there first"
        return Answer(reason="PeerExists", message=message)
    return None


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + body, hashlib.sha256)


def _parse(body: bytes, kind: type[_Message], *, what: str) -> _Message:
    if len(body) > MAX_BODY_BYTES:
        raise MalformedEnrolmentError(f"{what} of {len(body)} bytes: at most {MAX_BODY_BYTES} are accepted")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedEnrolmentError(f"this is not {what}: {error}") from error
