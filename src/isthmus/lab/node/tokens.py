"""Service account tokens for one pod: asked for by TokenRequest, bound to the pod, renewed before they expire.

They are valid by the wall clock, which somebody may set: it is looked at again and again.

Source: Kubernetes documentation, "Managing Service Accounts", bound tokens: renewed at 80% of their life.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import structlog
from lightkube import AsyncClient
from lightkube.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, ServiceAccountToken

from isthmus.lab.client import key_of, metadata_of
from isthmus.lab.node.sources import TokenWish

log = structlog.get_logger()

RENEWED_AT = 0.8
FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 5.0
SHORTEST_S, LOOK_S = 1.0, 2.0
SET_BACK_S = 30.0
"""A token from so far in the future is renewed; the server takes it up to a minute too early."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def renewal_s(*, now: datetime, given: datetime, expires: datetime) -> float:
    """Seconds until a token is to be renewed; 0 or less: it is time."""
    if (given - now).total_seconds() > SET_BACK_S:
        return 0.0
    return (expires - given).total_seconds() * RENEWED_AT - (now - given).total_seconds()


class PodTokens:
    """The tokens that the volumes of one pod call for."""

    def __init__(
        self,
        client: AsyncClient,
        pod: Pod,
        *,
        changed: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._pod = pod
        self._changed = changed
        self._clock = clock
        self.present: dict[TokenWish, str] = {}

    async def keep(self, wish: TokenWish) -> None:
        """Have a valid token for this wish until cancelled; refusals are retried with back-off."""
        delay_s = FIRST_RETRY_S
        while True:
            try:
                token, expires = await self._request(wish)
            except (httpx2.HTTPError, OSError) as error:
                log.info("token refused", pod=str(key_of(self._pod)), audience=wish.audience, error=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LONGEST_RETRY_S)
                continue
            delay_s = FIRST_RETRY_S
            self.present[wish] = token
            self._changed()
            await self._wait_renewal(expires)

    async def _wait_renewal(self, expires: datetime) -> None:
        """Wait until a token that was given now is to be renewed; never in a tight loop."""
        given = self._clock()
        await asyncio.sleep(SHORTEST_S)
        while (left_s := renewal_s(now=self._clock(), given=given, expires=expires)) > 0:  # noqa: ASYNC110  # a clock that is set wakes nobody
            await asyncio.sleep(min(left_s, LOOK_S))

    async def _request(self, wish: TokenWish) -> tuple[str, datetime]:
        key, spec = key_of(self._pod), self._pod.spec
        bound = BoundObjectReference(apiVersion="v1", kind="Pod", name=key.name, uid=metadata_of(self._pod).uid)
        request = ServiceAccountToken(
            metadata=ObjectMeta(),
            spec=TokenRequestSpec(
                audiences=[wish.audience] if wish.audience else [],
                expirationSeconds=wish.life_s,
                boundObjectRef=bound,
            ),
        )
        account = (spec.serviceAccountName if spec else None) or "default"
        answer = await self._client.create(request, account, namespace=key.namespace)
        if answer.status is None or answer.status.token is None or answer.status.expirationTimestamp is None:
            raise OSError(f"Requesting a token for {account}: the server's answer has none")
        return answer.status.token, answer.status.expirationTimestamp
