"""A queue of keys and the workers that bring each key's world to where it should be; level-triggered.

A key is in the queue at most once and worked on by at most one worker; a key that changes while it is being worked on
is worked on again. An exception means: again, later.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import httpx2
import structlog

log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_S = 0.02
LONGEST_RETRY_S = 10.0


class ReconcileLoop(Generic[K]):
    """Calls ``reconcile(key)`` for every key that was added."""

    def __init__(self, name: str, reconcile: Callable[[K], Awaitable[None]], *, workers: int = 4) -> None:
        self._name = name
        self._reconcile = reconcile
        self._workers = workers
        self._waiting: deque[K] = deque()
        self._queued: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._arrived = asyncio.Event()

    def add(self, key: K) -> None:
        """Ask for a reconciliation of ``key``; never blocks."""
        if key in self._queued:
            return
        self._queued.add(key)
        if key not in self._working:
            self._waiting.append(key)
            self._arrived.set()

    def add_after(self, delay_s: float, key: K) -> None:
        """Ask for it in ``delay_s`` seconds; a later call for the same key replaces an earlier one."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self._name} {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            key = self._waiting.popleft()
            self._queued.discard(key)
            self._working.add(key)
            try:
                await self._attempt(key)
            finally:
                self._working.discard(key)
            if key in self._queued:
                self._waiting.append(key)

    async def _attempt(self, key: K) -> None:
        try:
            await self._reconcile(key)
        except (httpx2.HTTPError, OSError, ValueError, LookupError) as error:
            self._again(key, error)
        except Exception as error:  # the outermost frame of a reconciliation: one key's bug must not stop the others
            log.exception("reconcile failed", controller=self._name, key=str(key))
            self._again(key, error)
        else:
            self._failures.pop(key, None)

    def _again(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = min(FIRST_RETRY_S * 2 ** min(failures, 20), LONGEST_RETRY_S)
        log.info("reconcile again", controller=self._name, key=str(key), error=str(error), retry_in_s=delay_s)
        self.add_after(delay_s, key)
