"""Entries of several logs in the order of their times, as they come. Pure: the clock comes in as an argument.

Each log is in order by itself, but they arrive unevenly: an entry waits for a moment, for those before it.
"""

import heapq
from collections.abc import Iterator
from itertools import count

from isthmus.doctor.peer_logs.entries import Entry

WINDOW_S = 0.4
MOST_WAITING = 20_000
"""Beyond this many, the oldest goes on without waiting: a log that floods must not fill the memory."""


class Order:
    """Entries that wait."""

    def __init__(self, *, window_s: float = WINDOW_S, most: int = MOST_WAITING) -> None:
        """window_s: how long an entry waits. most: how many do."""
        self._window_s = window_s
        self._most = most
        self._numbers = count()
        # By time, then by arrival: lines of one log with one time stay in their order.
        self._waiting: list[tuple[float, int, float, Entry]] = []

    def add(self, entry: Entry, *, now_s: float) -> None:
        """Take an entry that has arrived now."""
        heapq.heappush(self._waiting, (entry.time.timestamp(), next(self._numbers), now_s, entry))

    def due(self, *, now_s: float) -> Iterator[Entry]:
        """Those that have waited long enough, and those before them."""
        ripe = [number for _, number, since_s, _ in self._waiting if now_s - since_s >= self._window_s]
        left = len(ripe)
        wanted = set(ripe)
        while self._waiting and (left or len(self._waiting) > self._most):
            _, number, _, entry = heapq.heappop(self._waiting)
            left -= number in wanted
            yield entry
