"""A queue of keys to reconcile: a key that waits is not queued twice, one that is worked on waits for its turn.

Level-triggered: a key says who, never what happened. A failure is tried again with back-off, by key.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import timedelta
from typing import Final, Generic, NoReturn, TypeVar

import structlog

from isthmus.backoff import Backoff
from isthmus.kube.errors import TerminalError, Unavailable
from isthmus.news import News

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)

Reconcile = Callable[[K], Awaitable[timedelta | None]]
"""Makes the world as it should be for one key; returns when to look again unasked, None for never.

An exception means: again, with back-off. TerminalError means: not again until the key is added.
"""


class WorkQueue(Generic[K]):
    """Keys to reconcile. :meth:`add` may be called from any subscriber; :meth:`run` works them off."""

    def __init__(
        self,
        name: str,
        *,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        facts: Callable[[K], Mapping[str, str]] = lambda key: {"key": str(key)},
    ) -> None:
        """Make an empty queue.

        name, facts: what each line that is logged about a key says of it. jitter: gives numbers from 0 up to 1.
        """
        self.name: Final = name
        self.attempts = 0
        """How many reconciliations were begun."""
        self.retries = 0
        """How often a key was put off because its reconciliation had failed."""
        self._backoff = backoff or Backoff(longest_s=60.0)
        self._jitter = jitter
        self._waiting: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._ready = asyncio.Event()
        self._ids = itertools.count(1)
        self._facts = facts
        self._news: News[K | None] = News()  # of None, what concerns all keys

    def __len__(self) -> int:
        """How many keys wait for their turn, those that wait for a moment not counted."""
        return len(self._waiting) + len(self._again)

    def add(self, key: K) -> None:
        """Ask for the key to be reconciled, as soon as a worker is free and nobody else works on it."""
        self._forget_timer(key)
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._ready.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Ask for the key to be reconciled in a while; :meth:`add` may bring it forward."""
        self._forget_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self.add, key)

    async def run(self, reconcile: Reconcile[K], *, workers: int = 1) -> NoReturn:
        """Work until cancelled; no key is worked on by two workers at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._work(reconcile), name=f"{self.name} {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
        raise AssertionError("workers end only by cancellation or with an error")

    async def _work(self, reconcile: Reconcile[K]) -> NoReturn:
        while True:
            key = await self._next()
            try:
                with structlog.contextvars.bound_contextvars(
                    queue=self.name, reconcile_id=next(self._ids), **self._facts(key)
                ):
                    await self._attempt(key, reconcile)
            finally:
                self._done(key)
            # A reconciliation that finds nothing to do waits for nothing: without this, many of them stop the process.
            await asyncio.sleep(0)

    async def _attempt(self, key: K, reconcile: Reconcile[K]) -> None:
        self.attempts += 1
        try:
            again = await reconcile(key)
        except TerminalError as error:
            self._failed_before(key)
            if self._news.is_new(key, str(error)):
                log.warning("reconcile given up until something changes", error=str(error))
        except Exception as error:  # the task's outermost frame: whatever it was, it is tried again
            self._retry(key, error)
        else:
            failures = self._failed_before(key)
            if self._news.settled(key):
                log.info("reconcile succeeds again", failures=failures)
            if again is not None:
                self.add_after(key, again.total_seconds())

    def _retry(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.retries += 1
        delay_s = self._backoff.delay_s(failures, jitter=self._jitter())
        # While the API is away every key fails for that: one line is enough, the reflectors say when it is back.
        about, state = (None, "") if isinstance(error, Unavailable) else (key, f"{type(error).__name__}: {error}")
        if self._news.is_new(about, state):
            log.warning("reconcile failed, trying on", error=f"{type(error).__name__}: {error}", again_in_s=delay_s)
        self.add_after(key, delay_s)

    def _failed_before(self, key: K) -> int:
        """Forget how often in a row the key had failed, and say it; what concerns all keys is over with the first."""
        failures = self._failures.pop(key, 0)
        if failures:  # a key that never failed tells nothing of those that do
            self._news.settled(None)
        return failures

    async def _next(self) -> K:
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def _done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _forget_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
