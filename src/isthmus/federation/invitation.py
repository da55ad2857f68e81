"""Invitations: what the administrator of one mesh hands to the administrator of another, as one line of text.

The text is a secret: who has it may join, once, as the mesh that it names, until it expires. It has one spelling, and
any other text is refused with what is wrong with it. Source: docs/protocol.md §5.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final, Self

import msgspec

from isthmus.api.meta import DNS_LABEL
from isthmus.federation.introduction import MAX_ADDRESSES, Introduction, InvalidIntroductionError, spelling_problem
from isthmus.identity import CLOCK_SKEW, IdentityError, SpiffeId

LABEL: Final = "isthmus.io/invitation"
"""Label of the inviter's Secret; its value is the mesh that is invited."""
CONTENT_KEY: Final = "invitation.json"
"""The key of that Secret: an ``enrolment.OpenInvitation``."""
PREFIX: Final = "isthmus1."
SECRET_BYTES: Final = 32
ID_BYTES: Final = 16
MAX_TOKEN_LENGTH: Final = 64 * 1024
_CHECKSUM_DIGITS: Final = 12
_KEY_PURPOSE: Final = b"isthmus enrolment key 1\n"

_Text = Annotated[str, msgspec.Meta(max_length=1024)]
Id = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class InvalidTokenError(ValueError):
    """A text is no token that can be used; the message says why, and holds nothing of the text."""


class Invitation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Who invites whom, until when, and where to answer."""

    id: Id
    peer: _Text
    """The mesh that is invited: the name of its control plane, and of its ServiceMeshPeer at the inviter."""
    inviter: Introduction
    gateway: _Text
    """Who answers: the identity of the inviter's ingress gateway, as a client id is written."""
    contacts: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=2 * MAX_ADDRESSES)]
    """Where to answer. The gateway's addresses, and its IP addresses even if it has names, since the machine of an
    administrator may not resolve these."""
    expires: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    """Seconds since 1970, by the inviter's clock."""

    @property
    def server_name(self) -> str:
        """The SNI under which the inviter's ingress gateway takes enrolments."""
        return enrolment_name(self.inviter.mesh, self.inviter.namespace)

    @property
    def expires_at(self) -> datetime:
        """When it expires."""
        return datetime.fromtimestamp(self.expires, UTC)

    def check(self) -> SpiffeId:
        """Check every part; returns who answers. Raises InvalidIntroductionError."""
        bundle = self.inviter.check()
        if not re.fullmatch(DNS_LABEL, self.peer):
            raise InvalidIntroductionError(f"the invited mesh is called {self.peer[:80]!a}: expected a DNS label")
        if not self.inviter.addresses:
            raise InvalidIntroductionError(f"it has no address of {self.inviter.mesh}")
        for contact in self.contacts:
            if problem := spelling_problem(contact):
                raise InvalidIntroductionError(f"the address {contact[:80]!a} {problem}")
        try:
            gateway = SpiffeId.from_client_id(self.gateway)
        except IdentityError as error:
            raise InvalidIntroductionError(str(error)) from error
        if gateway.trust_domain != bundle.trust_domain:
            raise InvalidIntroductionError(f"the gateway {gateway} is not of the trust domain {bundle.trust_domain}")
        return gateway


class _Content(Invitation, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An invitation with its secret: what is in a token."""

    secret: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True)
class Token:
    """An invitation together with the secret that proves that one has it."""

    invitation: Invitation
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """What is handed over; the checksum at the end tells a text that was cut from one that is wrong."""
        fields = msgspec.structs.asdict(self.invitation)
        payload = base64.urlsafe_b64encode(msgspec.json.encode(_Content(**fields, secret=self.secret.hex())))
        body = PREFIX + payload.rstrip(b"=").decode("ascii")
        return f"{body}.{_checksum(body)}"

    @property
    def key(self) -> bytes:
        """The key of this invitation's proofs. It depends on all that the token says, so that a joiner who was told
        anything else (another root, another address) proves nothing; and the token cannot be made from it.
        """
        return hmac.digest(self.secret, _KEY_PURPOSE + self.text.encode("ascii"), hashlib.sha256)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token; white space in it, as pasting brings it, does not count.

        Raises InvalidTokenError: it is no token, of another version, cut or damaged, or says what cannot be.
        """
        compact = _undamaged(text)
        try:
            payload = base64.urlsafe_b64decode(compact.removeprefix(PREFIX).partition(".")[0] + "==")
            content = msgspec.json.decode(payload, type=_Content)
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidTokenError("Invalid token: it is complete, but not what isthmus invite prints") from error
        fields = msgspec.structs.asdict(content)
        token = cls(secret=bytes.fromhex(fields.pop("secret")), invitation=Invitation(**fields))
        try:
            token.invitation.check()
        except InvalidIntroductionError as error:
            raise InvalidTokenError(f"Invalid token: {error}") from error
        if token.text != compact:
            raise InvalidTokenError("Invalid token: it is complete, but not spelled as isthmus invite prints it")
        return token


def enrolment_name(mesh: str, namespace: str) -> str:
    """The server name for enrolments with the mesh whose control plane is in ``namespace``."""
    return f"enrol.{namespace}.svc.{mesh}.local"


def joining_problem(invitation: Invitation, *, mesh: str, trust_domains: Collection[str], now: datetime) -> str | None:
    """Why ``mesh``, of these trust domains, must not join, as far as it can tell by itself; None if it may try."""
    inviter = invitation.inviter
    if inviter.mesh == mesh:
        return f"it is a token of {mesh} itself: give it to the administrator of {invitation.peer}"
    if invitation.peer != mesh:
        return f"it invites {invitation.peer}, not {mesh}: ask {inviter.mesh} for a token for {mesh}"
    if inviter.trust_domain in trust_domains:
        return (
            f"{inviter.mesh} has the trust domain {inviter.trust_domain} too, so neither could tell the other's "
            "identities from its own: set spec.security.trust.domain of one ServiceMeshControlPlane"
        )
    if now > invitation.expires_at + CLOCK_SKEW:
        return f"it expired at {invitation.expires_at:%Y-%m-%dT%H:%M:%SZ}: ask {inviter.mesh} for another one"
    return None


def _undamaged(text: str) -> str:
    if len(text) > MAX_TOKEN_LENGTH:
        raise InvalidTokenError(f"Invalid token: longer than {MAX_TOKEN_LENGTH} characters")
    compact = "".join(text.split())
    if not compact.startswith(PREFIX):
        is_other = re.match(r"isthmus[0-9]+\.", compact)
        cause = "it is of another version of isthmus" if is_other else f"expected text that starts with {PREFIX}"
        raise InvalidTokenError(f"Invalid token: {cause}; it is what isthmus invite prints")
    body, _, checksum = compact.rpartition(".")
    if not compact.isascii() or body + "." == PREFIX or checksum != _checksum(body):
        raise InvalidTokenError("Invalid token: it is incomplete or damaged; copy all of it again")
    return compact


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:_CHECKSUM_DIGITS]
