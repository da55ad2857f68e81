"""Events about pods on their way to the API server: no container waits until they are told."""

import asyncio
from typing import NamedTuple

import structlog
from lightkube.resources.core_v1 import Pod

from isthmus.lab.client import EventRecorder, key_of

log = structlog.get_logger()

MOST_WAITING = 1000


class _Event(NamedTuple):
    pod: Pod
    reason: str
    message: str
    warning: bool


class PodEvents:
    """Writes Events one after the other; while the server does not answer, the newest are dropped."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._waiting: asyncio.Queue[_Event] = asyncio.Queue(MOST_WAITING)

    def record_nowait(self, pod: Pod, *, reason: str, message: str, warning: bool = False) -> None:
        """Have one Event about a pod written."""
        try:
            self._waiting.put_nowait(_Event(pod, reason, message, warning))
        except asyncio.QueueFull:
            log.info("event dropped", pod=str(key_of(pod)), reason=reason)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            event = await self._waiting.get()
            await self._recorder.record(event.pod, reason=event.reason, message=event.message, warning=event.warning)
