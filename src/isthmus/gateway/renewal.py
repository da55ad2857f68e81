"""The life of the pod's certificate: got, renewed in good time, got anew when the mesh's roots change."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from isthmus.backoff import Backoff
from isthmus.ca import CertificateError
from isthmus.clock import CLOCK, Clock
from isthmus.identity import Term, X509Svid, fingerprint, validity_error

log = structlog.get_logger(__name__)

# The clock is looked at this often: it may be set, or stand still while a laptop sleeps.
LONGEST_WAIT_S = 30.0
LEAST_WAIT_S = 1.0
"""Between two certificates, however short their lives."""
RETRY = Backoff(first_s=0.2, longest_s=2.0)
"""A gateway without a certificate serves nobody: it is back soon after its control plane is."""


class Renewal:
    """Asks ``request`` for certificates as long as it runs and hands each to ``publish``.

    While there is none, or a renewal does not succeed, ``request`` is tried again without end; the log has a line when
    the reason changes, not for each try.
    """

    def __init__(
        self,
        request: Callable[[], Awaitable[X509Svid]],
        publish: Callable[[X509Svid], None],
        *,
        jitter: Callable[[], float] = random.random,
        clock: Clock = CLOCK,
    ) -> None:
        self._request = request
        self._publish = publish
        self._jitter = jitter
        self._clock = clock
        self._svid: X509Svid | None = None
        self._reason = "it has not been asked for yet"
        self._asked = asyncio.Event()
        self._first = asyncio.Event()

    def renew_now(self) -> None:
        """Do not wait, neither for half of the certificate's life nor for the next try."""
        self._asked.set()

    async def wait_first(self) -> None:
        """Wait until a certificate has been published."""
        await self._first.wait()

    def problem(self) -> str | None:
        """Why the pod has no certificate that holds now; None if it has one."""
        if self._svid is None:
            return f"no certificate: {self._reason}"
        error = validity_error(self._svid.leaf, self._clock.now())
        return None if error is None else f"the certificate {error}; {self._reason}"

    async def run(self) -> None:
        """Get certificates until cancelled."""
        while True:
            svid = self._svid = await self._obtain()
            self._reason = ""
            self._publish(svid)
            self._first.set()
            log.info(
                "certificate obtained",
                identity=str(svid.spiffe_id),
                valid_until=svid.leaf.not_valid_after_utc.isoformat(),
                fingerprint=fingerprint(svid.leaf),
            )
            await self._wait_due(svid)

    async def _obtain(self) -> X509Svid:
        failures = 0
        while True:
            try:
                return await self._request()
            except CertificateError as error:
                failures += 1
                self._note(str(error))
            await self._wait_asked(RETRY.delay_s(failures, jitter=self._jitter()))

    def _note(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            log.info("no new certificate yet, trying again", reason=reason)

    async def _wait_due(self, svid: X509Svid) -> None:
        clock, left_s = self._clock, LEAST_WAIT_S
        term = Term.of(svid.leaf, now=clock.now(), now_s=clock.monotonic_s(), jitter=self._jitter())
        while left_s > 0 and not await self._wait_asked(min(left_s, LONGEST_WAIT_S)):
            left_s = term.left_s(now=clock.now(), now_s=clock.monotonic_s())

    async def _wait_asked(self, timeout_s: float) -> bool:
        """Wait so long, or until ``renew_now``; tell whether it was that."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True
