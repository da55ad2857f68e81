"""Reads the logs of several pods, once or for as long as one likes, and gives out their entries in order."""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from isthmus.doctor.objects import side_by_side
from isthmus.doctor.peer_logs.entries import Entry, concerns, parse_line
from isthmus.doctor.peer_logs.order import Order
from isthmus.doctor.peer_logs.reading import Clusters
from isthmus.doctor.peer_logs.sources import Source
from isthmus.kube.errors import KubeError

MOST_LINES = 50_000
"""Of a pod's lines that concern the peer, the last of which are kept where all are read."""
QUEUED = 1_000
"""Entries that have come and are not in order yet; while it is full, nothing more is read from the clusters."""
TICK_S = 0.1
AGAIN_S = 1.0
"""How soon new pods, and pods whose log has ended, are looked for; so late may a new pod's first lines be."""

Complain = Callable[[str], None]
"""Is told of a log that cannot be read; the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which part of the logs. ``since``: not older than that; ``tail``: the last lines of each pod; None: all."""

    since: timedelta | None = None
    tail: int | None = None

    def params(self) -> dict[str, str]:
        """As options of a pod's log."""
        found = {}
        if self.since is not None:
            found["sinceSeconds"] = str(max(1, round(self.since.total_seconds())))
        if self.tail is not None:
            found["tailLines"] = str(self.tail)
        return found


async def read_all(clusters: Clusters, sources: Sequence[Source], wish: Wish, complain: Complain) -> list[Entry]:
    """Everything that there is, in order. Raises KubeError if not even the pods can be listed."""
    pods = await side_by_side([clusters.pods(source) for source in sources])
    logs = [
        _read(clusters, each, pod, wish, complain) for each, names in zip(sources, pods, strict=True) for pod in names
    ]
    return list(heapq.merge(*await side_by_side(logs), key=lambda entry: entry.time))


async def _read(clusters: Clusters, source: Source, pod: str, wish: Wish, complain: Complain) -> deque[Entry]:
    kept: deque[Entry] = deque(maxlen=MOST_LINES)
    try:
        async with clusters.lines(source, pod, wish.params()) as lines:
            async for line in lines:
                entry = parse_line(line, source=source, pod=pod)
                if entry is not None and concerns(entry):
                    kept.append(entry)
    except KubeError as error:
        complain(str(error))
    return kept


@asynccontextmanager
async def follow(
    clusters: Clusters, sources: Sequence[Source], wish: Wish, complain: Complain
) -> AsyncIterator[AsyncIterator[Entry]]:
    """Entries as they come, also of pods that come later, until the end of the block."""
    queue: asyncio.Queue[Entry] = asyncio.Queue(maxsize=QUEUED)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                _follow_source(clusters, source, wish, queue, complain), name=f"follow {source.component}"
            )
            for source in sources
        ]
        try:
            async with aclosing(_ordered(queue)) as entries:
                yield entries
        finally:
            for task in running:
                task.cancel()


async def _ordered(queue: asyncio.Queue[Entry]) -> AsyncGenerator[Entry]:
    order, clock = Order(), asyncio.get_running_loop().time
    while True:
        await _fill(order, queue, clock)
        for entry in order.due(now_s=clock()):
            yield entry


async def _fill(order: Order, queue: asyncio.Queue[Entry], clock: Callable[[], float]) -> None:
    """Take what is there; wait a moment if nothing is."""
    try:
        async with asyncio.timeout(TICK_S):
            order.add(await queue.get(), now_s=clock())
    except TimeoutError:
        return
    while not queue.empty():
        order.add(queue.get_nowait(), now_s=clock())


async def _follow_source(
    clusters: Clusters, source: Source, wish: Wish, queue: asyncio.Queue[Entry], complain: Complain
) -> None:
    """Follow each pod of a source; look for new ones, and for those that have a log again, now and then."""
    followed: dict[str, asyncio.Task[None]] = {}
    last: dict[str, datetime] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            for pod in await _pods(clusters, source, complain):
                if pod not in followed or followed[pod].done():
                    work = _follow_pod(clusters, source, pod, _params(wish, last.get(pod)), queue, last, complain)
                    followed[pod] = tasks.create_task(work, name=f"follow {pod}")
            wish = Wish()  # of what comes later, everything
            await asyncio.sleep(AGAIN_S)


async def _pods(clusters: Clusters, source: Source, complain: Complain) -> list[str]:
    try:
        return await clusters.pods(source)
    except KubeError as error:
        complain(str(error))
        return []


def _params(wish: Wish, last: datetime | None) -> dict[str, str]:
    """A log that is taken up again goes on where it ended; ``sinceTime`` counts in whole seconds."""
    again = {"sinceTime": last.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if last else wish.params()
    return {"follow": "true", **again}


async def _follow_pod(  # noqa: PLR0913, PLR0917 -- what a task of its own works with
    clusters: Clusters,
    source: Source,
    pod: str,
    params: dict[str, str],
    queue: asyncio.Queue[Entry],
    last: dict[str, datetime],
    complain: Complain,
) -> None:
    seen = last.get(pod)
    try:
        async with clusters.lines(source, pod, params) as lines:
            async for line in lines:
                entry = parse_line(line, source=source, pod=pod)
                if entry is None or (seen is not None and entry.time <= seen):
                    continue
                last[pod] = entry.time
                if concerns(entry):
                    await queue.put(entry)
    except KubeError as error:
        complain(str(error))
