"""Who of several replicas leads: one Lease, held by one of them at a time (``coordination.k8s.io/v1``).

The rules are those of Kubernetes' own components (Kubernetes, "Leases", "Leader election"): a holder renews its lease
well before it runs out; others take it only after they have seen it unchanged for as long as it lasts. Nobody's clock
is compared with anybody else's: what counts is how long one has watched.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import structlog
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease

from isthmus.kube.client import Client
from isthmus.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, TerminalError, translated
from isthmus.kube.store import metadata_of
from isthmus.news import News

log = structlog.get_logger(__name__)

DURATION_S = 15
"""How long a lease lasts after it was last renewed."""

DEADLINE_S = 8.0
"""A holder that could not renew for so long stops leading, before anyone else may begin.

With one more wait and one more attempt, which takes two waits at most, it is over before the lease is.
"""

RETRY_S = 2.0
"""Between looks at the lease, and between renewals."""


class LeaseLost(TerminalError):  # noqa: N818 -- named after what happened
    """Someone else may lead now; the process must end what only a leader may do."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the lease says: who holds it, and a version that changes with each renewal."""

    holder: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The last record that was seen to be new, and when (a monotonic clock, in seconds)."""

    record: Record
    since_s: float


def observe(before: Observation | None, record: Record, *, now_s: float) -> Observation:
    """Take in what the lease says now; the moment stays unless the record has changed."""
    if before is not None and before.record == record:
        return before
    return Observation(record=record, since_s=now_s)


def may_take(seen: Observation, identity: str, *, now_s: float) -> bool:
    """Say whether ``identity`` may write itself into the lease: it is its own, nobody's, or has run out."""
    return seen.record.holder in {identity, ""} or now_s - seen.since_s >= DURATION_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """Which Lease, and who this replica is: an identity that no other replica has, such as the name of its pod."""

    name: str
    namespace: str
    identity: str


class Candidate:
    """One replica that would lead."""

    def __init__(
        self,
        client: Client,
        candidacy: Candidacy,
        *,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare. jitter: gives numbers from 0 up to 1. now: the clock for the times that the Lease shows."""
        self._client = client
        self._of = candidacy
        self._jitter = jitter
        self._now = now
        self._seen: Observation | None = None
        self._news: News[str] = News()

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """Wait until this replica leads, and lead for the block; give the lease up at its end.

        Errors of the API while waiting are retried for ever. A lease that cannot be kept cancels the block and raises
        LeaseLost in an ExceptionGroup: the process is to end, since someone else may lead already.
        """
        while not await self._try():  # noqa: ASYNC110 -- what is waited for is on a server
            await asyncio.sleep(RETRY_S * (0.5 + self._jitter() / 2))
        log.info("leading", lease=self._of.name, identity=self._of.identity)
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(), name=f"renew lease {self._of.name}")
                yield
                renewing.cancel()
        finally:
            await self._release()

    async def _renew(self) -> NoReturn:
        """Renew until cancelled; raise LeaseLost once that has failed for too long."""
        renewed_s = _monotonic()
        while True:
            await asyncio.sleep(RETRY_S)
            if await self._try():
                renewed_s = _monotonic()
            elif _monotonic() - renewed_s > DEADLINE_S:
                raise LeaseLost(f"lease {self._of.name} could not be renewed for {DEADLINE_S:.0f} s")

    async def _try(self) -> bool:
        """Take or renew the lease if that may be; say whether it is ours now."""
        try:
            async with asyncio.timeout(RETRY_S * 2):
                is_ours = await self._look_and_write()
        except (KubeError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            if self._news.is_new(self._of.name, reason):
                log.info("lease not reached, trying on", lease=self._of.name, error=reason)
            return False
        if self._news.settled(self._of.name):
            log.info("lease reached again", lease=self._of.name)
        return is_ours

    async def _look_and_write(self) -> bool:
        lease = await self._read()
        if lease is None:
            return await self._write(_renewed(None, self._of, now=self._now()))
        self._seen = observe(self._seen, _record(lease), now_s=_monotonic())
        if not may_take(self._seen, self._of.identity, now_s=_monotonic()):
            return False
        return await self._write(_renewed(lease, self._of, now=self._now()))

    async def _read(self) -> Lease | None:
        try:
            with translated(f"read Lease {self._of.namespace}/{self._of.name}"):
                return await self._client.api.get(Lease, self._of.name, namespace=self._of.namespace)
        except NotFound:
            return None

    async def _write(self, lease: Lease) -> bool:
        """Create or replace it; someone who was quicker makes this fail, as the resource version has moved."""
        try:
            with translated(f"write Lease {self._of.namespace}/{self._of.name}"):
                if lease.metadata and lease.metadata.resourceVersion:
                    await self._client.api.replace(lease)
                else:
                    await self._client.api.create(lease)
        except (Conflict, AlreadyExists):
            return False
        return True

    async def _release(self) -> None:
        """Let the next one lead at once; if that fails, they wait until the lease runs out."""
        try:
            async with asyncio.timeout(RETRY_S):
                lease = await self._read()
                if lease is not None and lease.spec is not None and lease.spec.holderIdentity == self._of.identity:
                    lease.spec.holderIdentity = ""
                    await self._write(lease)
        except (KubeError, TimeoutError) as error:
            log.info("lease not released", lease=self._of.name, error=str(error) or "no answer in time")


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _record(lease: Lease) -> Record:
    return Record(
        holder=(lease.spec.holderIdentity if lease.spec else None) or "",
        version=metadata_of(lease).resourceVersion or "",
    )


def _renewed(lease: Lease | None, of: Candidacy, *, now: datetime) -> Lease:
    """Return the lease as the candidate holds it, for the version that was read."""
    # MicroTime must have its six digits, which a moment with none of them would not be written with.
    moment = now if now.microsecond else now.replace(microsecond=1)
    spec = lease.spec if lease and lease.spec else LeaseSpec()
    ours = spec.holderIdentity == of.identity
    return Lease(
        metadata=lease.metadata if lease else ObjectMeta(name=of.name, namespace=of.namespace),
        spec=LeaseSpec(
            holderIdentity=of.identity,
            leaseDurationSeconds=DURATION_S,
            acquireTime=spec.acquireTime if ours else moment,
            renewTime=moment,
            leaseTransitions=(spec.leaseTransitions or 0) + (0 if ours or lease is None else 1),
        ),
    )
