"""The life of a certificate, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from structlog.testing import capture_logs
from tests.ca.serving import EGRESS, RED
from tests.gateway.virtual_time import run_virtually
from tests.identity.corpus import NOW

from isthmus.ca import UnavailableError
from isthmus.clock import Clock
from isthmus.gateway.renewal import Renewal
from isthmus.identity import Authority, X509Svid

LIFETIME_S = 3600.0
AUTHORITY = Authority.self_signed(RED, now=NOW)


class World:
    """A certificate service that fails as told, and a clock that follows the loop's time."""

    def __init__(self) -> None:
        self.reason = ""
        self.tries = 0
        self.published: list[X509Svid] = []
        self.set_by = timedelta()
        """How far the clock has been set."""
        clock = Clock(now=self.clock, monotonic_s=lambda: asyncio.get_running_loop().time())
        self.renewal = Renewal(self.request, self.published.append, jitter=lambda: 0.5, clock=clock)

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=asyncio.get_running_loop().time()) + self.set_by

    async def request(self) -> X509Svid:
        self.tries += 1
        if self.reason:
            raise UnavailableError(self.reason)
        return AUTHORITY.issue_svid(EGRESS, lifetime=timedelta(seconds=LIFETIME_S), now=self.clock())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.renewal.run())
            yield
            task.cancel()


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test in virtual time."""

    @wraps(test)
    def run() -> None:
        run_virtually(test())

    return run


@virtual
async def test_a_certificate_is_renewed_at_half_of_its_life() -> None:
    """Not before, and again after half of the next one's."""
    world = World()
    async with world.running():
        await asyncio.sleep(LIFETIME_S * 0.49)
        assert len(world.published) == 1
        await asyncio.sleep(LIFETIME_S * 0.02)
        assert len(world.published) == 2
        await asyncio.sleep(LIFETIME_S * 0.48)
        assert len(world.published) == 2
        await asyncio.sleep(LIFETIME_S * 0.02)
        assert len(world.published) == 3


@virtual
async def test_failures_are_tried_again_and_logged_once_for_each_reason() -> None:
    """An hour without a pilot is one line, and the end of it another."""
    world = World()
    world.reason = "the pilot does not answer"
    with capture_logs() as logs:
        async with world.running():
            await asyncio.sleep(3600)
            world.reason = "the token is refused"
            await asyncio.sleep(60)
            assert world.renewal.problem() == "no certificate: the token is refused"
            world.reason = ""
            await world.renewal.wait_first()
    assert [line.get("reason", line["event"]) for line in logs] == [
        "the pilot does not answer",
        "the token is refused",
        "certificate obtained",
    ]
    assert 1800 < world.tries < 4000


@virtual
async def test_the_same_failure_after_a_success_is_logged_again() -> None:
    """A new outage is news, even with an old reason."""
    world = World()
    with capture_logs() as logs:
        async with world.running():
            for reason in ("the pilot does not answer", "", "the pilot does not answer", ""):
                world.reason = reason
                world.renewal.renew_now()
                await asyncio.sleep(60)
    assert [line.get("reason", "") for line in logs] == ["the pilot does not answer", ""] * 2


@virtual
async def test_renew_now_waits_neither_for_half_of_the_life_nor_for_the_next_try() -> None:
    """Changed roots take effect at once."""
    world = World()
    async with world.running():
        await world.renewal.wait_first()
        world.renewal.renew_now()
        await asyncio.sleep(0.001)
        assert len(world.published) == 2
        world.reason = "the pilot's certificate is under another root"
        world.renewal.renew_now()
        await asyncio.sleep(600)
        world.reason = ""
        world.renewal.renew_now()
        await asyncio.sleep(0.001)
        assert len(world.published) == 3


@virtual
async def test_a_certificate_that_holds_no_longer_is_a_problem() -> None:
    """While its renewal fails the old one is fine, until it expires; then the pod is not."""
    world = World()
    assert world.renewal.problem() == "no certificate: it has not been asked for yet"
    async with world.running():
        await world.renewal.wait_first()
        world.reason = "the pilot does not answer"
        await asyncio.sleep(LIFETIME_S * 0.9)
        assert world.renewal.problem() is None
        await asyncio.sleep(LIFETIME_S * 0.2)
        assert world.renewal.problem() == "the certificate expired at 2026-06-01T13:00:00Z; the pilot does not answer"


@virtual
async def test_a_certificate_is_renewed_in_time_by_a_clock_that_is_set_back() -> None:
    """After half of its life has passed, whatever the clock says; and at once if by it the life has not begun."""
    world = World()
    async with world.running():
        await asyncio.sleep(LIFETIME_S * 0.4)
        world.set_by = timedelta(seconds=-LIFETIME_S * 0.3)
        await asyncio.sleep(LIFETIME_S * 0.09)
        assert len(world.published) == 1
        await asyncio.sleep(LIFETIME_S * 0.02)
        assert len(world.published) == 2
        world.set_by -= timedelta(hours=1)
        assert "is not valid before" in str(world.renewal.problem())
        await asyncio.sleep(60)
        assert world.renewal.problem() is None
        assert len(world.published) == 3


@virtual
async def test_a_certificate_is_renewed_at_once_by_a_clock_that_is_set_forward() -> None:
    """Its life may be over by now, and the next one is good for as long as ever."""
    world = World()
    async with world.running():
        await world.renewal.wait_first()
        world.set_by = timedelta(hours=1, seconds=1)
        assert "expired" in str(world.renewal.problem())
        await asyncio.sleep(60)
        assert world.renewal.problem() is None
        await asyncio.sleep(LIFETIME_S * 0.4)
        assert len(world.published) == 2
