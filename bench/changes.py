"""What one more exported Service costs, and how long it takes: on the wire, as an import, as an answer.

Seen from outside: one more watcher of green's discovery, a watch of red's API server, and an HTTP client of red's
egress gateway. Times count from the answer of green's API server to the ``create``.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bench.two_meshes import TwoMeshes
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service

NAMESPACE = "bookinfo"
PORT = 9080
IMPORTED: dict[str, Any] = {"isthmus.io/peer": "green-mesh"}
EXPORTED_NAME = "isthmus.io/exported-name"
TIMEOUT_S = 120.0


@dataclass(slots=True)
class Seen:
    """The moment at which something was first seen, by the name of the exported Service."""

    moments: dict[str, float] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def put(self, name: str, value: Any) -> None:
        async with self._news:
            self.moments.setdefault(name, now())
            self.values[name] = value
            self._news.notify_all()

    async def wait(self, name: str) -> float:
        """When it was seen; TimeoutError if it is not within ``TIMEOUT_S``."""
        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: name in self.moments)
        return self.moments[name]

    async def wait_count(self, count: int, *, timeout_s: float) -> None:
        """Wait until as many were seen."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.moments) >= count)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the two watches have seen: bytes of events, and gateway ports of imports."""

    events: Seen
    imports: Seen


@asynccontextmanager
async def observed(meshes: TwoMeshes) -> AsyncIterator[Observed]:
    """Follow discovery and imports within the block; what was imported before is seen at once."""
    seen = Observed(Seen(), Seen())
    async with asyncio.TaskGroup() as tasks:
        following = [
            tasks.create_task(_follow_wire(meshes, seen.events)),
            tasks.create_task(_follow_imports(meshes, seen.imports)),
        ]
        yield seen
        for task in following:
            task.cancel()


async def _follow_wire(meshes: TwoMeshes, events: Seen) -> None:
    async for line in meshes.watch():
        await events.put(str(json.loads(line)["service"]["name"]), len(line))


async def _follow_imports(meshes: TwoMeshes, imports: Seen) -> None:
    red = meshes.red
    async for event, service in red.client.watch(Service, namespace=red.namespace, labels=IMPORTED):
        if event == "ADDED" and service.metadata and service.spec and service.spec.ports:
            name = (service.metadata.annotations or {})[EXPORTED_NAME].partition(".")[0]
            await imports.put(name, service.spec.ports[0].targetPort)


async def create(meshes: TwoMeshes, name: str, *, in_red: bool = False) -> float:
    """Create one more Service in front of the pods of ratings; the moment at which the API server had it."""
    spec = ServiceSpec(selector={"app": "ratings"}, ports=[ServicePort(name="http", port=PORT)])
    side = meshes.red if in_red else meshes.green
    await side.client.create(Service(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=spec))
    return now()


async def answered(address: str, port: int, *, pause_s: float = 0.001) -> float:
    """Ask through both gateways until the answer is 200; the moment of that."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await _ask(address, port):  # noqa: ASYNC110  (a process of its own)
            await asyncio.sleep(pause_s)
    return now()


async def _ask(address: str, port: int) -> bool:
    writer = None
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET /ratings/1 HTTP/1.1\r\nHost: ratings\r\nConnection: close\r\n\r\n")
            return (await reader.read()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()


async def side_by_side(works: Iterable[Awaitable[Any]], *, at_once: int) -> list[Any]:
    """Await all, at most ``at_once`` at a time, in their order."""
    gate = asyncio.Semaphore(at_once)

    async def one(work: Awaitable[Any]) -> Any:
        async with gate:
            return await work

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one(work)) for work in works]
    return [task.result() for task in started]


def now() -> float:
    """Seconds on the clock of the event loop."""
    return asyncio.get_running_loop().time()
