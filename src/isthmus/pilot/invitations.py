"""The mesh's invitations: Secrets with a label of ours, which an administrator writes and the control plane removes.

While one is there, its ingress gateway takes enrolments; one that was used stays until it expires, so that whoever
uses it again is told. Source: docs/protocol.md §5.
"""

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import structlog
from lightkube.resources.core_v1 import Secret

from isthmus.federation.enrolment import MalformedEnrolmentError, OpenInvitation, parse_invitation
from isthmus.federation.invitation import CONTENT_KEY
from isthmus.identity import CLOCK_SKEW
from isthmus.kube import Change, Client, ObjectKey, Store
from isthmus.kube.errors import KubeError, NotFound, translated
from isthmus.news import News

log = structlog.get_logger(__name__)

RETRY_S = 10.0
LONGEST_WAIT_S = 30.0
"""Between looks at the clock, which may be set."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An invitation with the Secret that it was read from."""

    invitation: OpenInvitation
    secret: Secret


class Invitations:
    """What the store holds, as invitations; ``changed`` is called with the ingress gateways that take enrolments."""

    def __init__(
        self,
        client: Client,
        store: Store[Secret],
        *,
        changed: Callable[[frozenset[str]], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nothing is followed before :meth:`follow`."""
        self._client = client
        self._store = store
        self._changed = changed
        self._now = now
        self._kept: dict[ObjectKey, Kept] = {}
        self._woken = asyncio.Event()
        self._news: News[ObjectKey] = News()

    def follow(self) -> None:
        """Take in what the store holds, and each change from now on."""
        self._store.subscribe(self._follow)

    def kept(self) -> list[Kept]:
        """All that have not been removed yet."""
        return list(self._kept.values())

    async def run(self) -> NoReturn:
        """Remove each invitation some time after it has expired, until cancelled."""
        while True:
            self._woken.clear()
            delay_s = await self._remove_expired()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._woken.wait()

    async def _remove_expired(self) -> float | None:
        """Remove what is over; how long to wait before the next look, None if nothing is left."""
        now, least_s = self._now(), 1.0
        for key, kept in list(self._kept.items()):
            if now > _removal_time(kept.invitation) and not await self._remove(key, kept.invitation.peer):
                least_s = RETRY_S
        left = [_removal_time(kept.invitation) for kept in self._kept.values()]
        return min(max(least_s, (min(left) - now).total_seconds()), LONGEST_WAIT_S) if left else None

    async def _remove(self, key: ObjectKey, peer: str) -> bool:
        """Whether the Secret is gone; that it is not is told, once for each reason."""
        # The name of each Secret is used once: this is never a newer invitation of the same mesh.
        try:
            with translated(f"delete Secret {key}"):
                await self._client.api.delete(Secret, key.name, namespace=key.namespace)
            log.info("invitation expired", peer=peer)
        except NotFound:
            pass  # another replica was first
        except KubeError as error:
            if self._news.is_new(key, str(error)):
                log.warning("expired invitation not removed, trying on", peer=peer, cause=str(error))
            return False
        self._news.settled(key)
        return True

    def _follow(self, change: Change[Secret]) -> None:
        before = self._ingresses()
        kept = _read(change.key, change.new)
        if kept is None:
            self._kept.pop(change.key, None)
        else:
            self._kept[change.key] = kept
        if self._ingresses() != before:
            self._changed(self._ingresses())
        self._woken.set()

    def _ingresses(self) -> frozenset[str]:
        return frozenset(kept.invitation.ingress for kept in self._kept.values())


def _removal_time(invitation: OpenInvitation) -> datetime:
    """Later than it expires: a joiner whose clock is behind is told so rather than left without an answer."""
    return invitation.expires_at + CLOCK_SKEW


def _read(key: ObjectKey, secret: Secret | None) -> Kept | None:
    """The invitation in a Secret; one that cannot be read invites nobody."""
    if secret is None:
        return None
    try:
        return Kept(parse_invitation(base64.b64decode((secret.data or {}).get(CONTENT_KEY, ""))), secret)
    except (MalformedEnrolmentError, ValueError):
        log.warning(
            "invitation cannot be read", secret=str(key), expected=f"key {CONTENT_KEY}, as isthmus invite writes it"
        )
        return None
