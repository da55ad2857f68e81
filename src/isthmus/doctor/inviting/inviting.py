"""The inviter's side: an invitation is a Secret, which opens our ingress gateway for as long as it is there.

The token is made here, shown once, and stored nowhere: the Secret holds the key that proofs are checked with.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret

from isthmus.doctor.inviting.errors import Refused
from isthmus.doctor.inviting.home import Found, Home
from isthmus.doctor.linking.options import ServiceType
from isthmus.doctor.linking.plan import Verb
from isthmus.doctor.linking.undo import plan_unlink
from isthmus.federation.enrolment import MalformedEnrolmentError, OpenInvitation, parse_invitation
from isthmus.federation.invitation import (
    CONTENT_KEY,
    ID_BYTES,
    LABEL,
    SECRET_BYTES,
    InvalidTokenError,
    Invitation,
    Token,
)
from isthmus.kube import Client, key_of
from isthmus.kube.errors import NotFound, translated


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that there is."""

    invitation: OpenInvitation

    def state(self, now: datetime) -> str:
        """``open``, ``used`` or ``expired``."""
        if self.invitation.accepted:
            return "used"
        return "expired" if now > self.invitation.expires_at else "open"


async def invite(
    home: Home, *, lifetime: timedelta, addresses: Sequence[str], service_type: ServiceType | None, timeout_s: float
) -> Token:
    """Invite the mesh that ``home`` is looked at for; an invitation of it that there was is void from now on.

    Raises:
        Refused: it cannot be invited, and nothing was written.
        Unfinished: our gateways for it have no address yet; they stay, and the same command goes on.
        KubeError, LinkError: as for the parts.
    """
    if home.peer == home.mesh.name:
        raise Refused(f"{home.peer} is this mesh itself: expected the name of another")
    if problems := home.problems():
        raise Refused("; ".join(problems))
    home.introduction()
    await home.write(home.gateways_step(service_type))
    found = await home.wait_reachable(addresses, timeout_s=timeout_s)
    token = _token(home, found, expires=datetime.now(UTC) + lifetime)
    before = await _secrets(home.client, home.mesh.namespace, home.peer)
    await _store(home, token)
    for secret in before:
        await _delete(home.client, secret)
    return token


async def listed(client: Client, namespace: str) -> list[Invited]:
    """The invitations of the mesh in ``namespace``, by the mesh that is invited. Raises KubeError."""
    found = [_read(secret) for secret in await _secrets(client, namespace)]
    return [Invited(each) for each in sorted(filter(None, found), key=lambda each: (each.peer, each.expires))]


async def revoke(home: Home) -> int:
    """Take invitations of the mesh back, and gateways that were made for it and serve no peer; how many there were.

    Raises KubeError.
    """
    found = await _secrets(home.client, home.mesh.namespace, home.peer)
    for secret in found:
        await _delete(home.client, secret)
    plan = plan_unlink([home.mesh], [home.mesh.name, home.peer])
    if home.peer not in home.mesh.peers:
        for step in plan.steps:
            if step.kind == "ServiceMeshControlPlane" and step.verb is Verb.CHANGE:
                await home.write(step)
    return len(found)


def _token(home: Home, found: Found, *, expires: datetime) -> Token:
    inviter = home.introduction(found)
    invitation = Invitation(
        id=secrets.token_hex(ID_BYTES),
        peer=home.peer,
        inviter=inviter,
        gateway=home.identity(home.gateway("ingress")).without_scheme,
        contacts=tuple(dict.fromkeys((*found.ips, *inviter.addresses))),
        expires=int(expires.timestamp()),
    )
    token = Token(invitation, secrets.token_bytes(SECRET_BYTES))
    try:
        Token.parse(token.text)  # the joiner must be able to
    except InvalidTokenError as error:
        raise Refused(f"{home.peer} could not use the token: {error}") from error
    return token


async def _store(home: Home, token: Token) -> None:
    invitation = token.invitation
    kept = OpenInvitation(
        id=invitation.id,
        peer=invitation.peer,
        expires=invitation.expires,
        ingress=home.gateway("ingress"),
        egress=home.gateway("egress"),
        key=token.key.hex(),
    )
    # A name is used once: whoever removes an expired invitation by its name removes no other.
    metadata = ObjectMeta(
        name=f"invitation-{invitation.peer[:40]}-{secrets.token_hex(4)}".replace("--", "-"),
        namespace=home.mesh.namespace,
        labels={LABEL: invitation.peer},
    )
    data = {CONTENT_KEY: base64.b64encode(msgspec.json.encode(kept)).decode("ascii")}
    with translated(f"create Secret {metadata.namespace}/{metadata.name}"):
        await home.client.api.create(Secret(metadata=metadata, type="isthmus.io/invitation", data=data))


async def _secrets(client: Client, namespace: str, peer: str | None = None) -> list[Secret]:
    """The Secrets that are invitations, all of them or those of one mesh."""
    labels: dict[str, Any] = {LABEL: peer}  # None selects every Secret that has the label
    with translated(f"list the invitations in {namespace}"):
        return [each async for each in client.api.list(Secret, namespace=namespace, labels=labels)]


async def _delete(client: Client, secret: Secret) -> None:
    key = key_of(secret)
    try:
        with translated(f"delete Secret {key}"):
            await client.api.delete(Secret, key.name, namespace=key.namespace)
    except NotFound:
        return


def _read(secret: Secret) -> OpenInvitation | None:
    try:
        return parse_invitation(base64.b64decode((secret.data or {}).get(CONTENT_KEY, "")))
    except (MalformedEnrolmentError, ValueError):
        return None
