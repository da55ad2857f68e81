"""An event loop whose time jumps to the next timer when there is nothing else to do: hours pass in no time.

For code that waits for timers only; threads and sockets have a time of their own.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at zero."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # private to asyncio
        due = [timer.when() for timer in scheduled if not timer.cancelled()]
        if due and not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, min(due))
        super()._run_once()  # type: ignore[misc]


def run_virtually(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` to its end."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)
