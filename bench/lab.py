"""What a lab's API server can do, next to what a real one did on such a machine; ``make bench-lab``.

The second step, on a lab of its own, is what many watches cost that nothing comes for: ``IDLE`` of them, or as many as
this process may open.

Measures a lab that it brings up itself, or any API server by its kubeconfig. Prints a table and keeps all figures in
``build/bench/lab.json``. What each figure means, and what was reached where: docs/lab.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from bench.http_connection import Connection, Server, processor_s, resident_mb

from isthmus.lab.clusters import ClusterFolder

WRITERS, SIZES, FEW = 8, (2_000, 20_000), 200
EVENTS, WATCHERS, LIST_S = 200, 50, 4.0
IDLE, IDLE_S, OPENING, SPARE_FILES = 10_000, 10.0, 32, 256
REAL: dict[str, str] = {
    "ready_s": "3-4",
    "2000 create_per_s": "800",
    "2000 create_p50_ms": "8.8",
    "2000 memory_mb": "411",
    "2000 event_p50_ms": "2.3",
    "2000 all_50_p50_ms": "4.7",
    "2000 list_per_s": "22",
    "2000 list_in_pages_per_s": "",
    "2000 list_200_by_label_per_s": "",
}
"""A kube-apiserver 1.33 with etcd 3.5 on two cores, by another client: they say which order of magnitude is usual."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured: a server, and the namespace in it. ``pid`` is 0 when its process is not ours to see."""

    server: Server
    namespace: str
    pid: int

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"


Step = Callable[[Measured], Awaitable[dict[str, float]]]


def config_map(name: str, *, few: bool = False) -> bytes:
    """An object of some 1 KiB."""
    labels = {"few": "yes"} if few else {}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"bench": "lab", **labels}},
            "data": {"text": "x" * 900},
        }
    ).encode()


async def create(measured: Measured, start: int, end: int) -> dict[str, float]:
    """Create objects over eight connections."""
    numbers = iter(range(start, end))
    took: list[float] = []

    async def writer() -> None:
        async with Connection(measured.server) as connection:
            for number in numbers:
                body = config_map(f"n{number:06}", few=number < FEW)
                began = time.perf_counter()
                await connection.ask("POST", measured.path, body)
                took.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(writer())
    rate = (end - start) / (time.perf_counter() - began)
    return {"create_per_s": rate, "create_p50_ms": statistics.median(took) * 1e3}


async def events(measured: Measured, watchers: int) -> float:
    """Median of the time from a create being sent to its event being read by the last of the watchers, in ms."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    listed = json.loads(await _once(measured, f"{measured.path}?limit=1"))["metadata"]["resourceVersion"]

    async def watch(connection: Connection) -> None:
        async for _ in connection.lines(f"{measured.path}?watch=1&resourceVersion={listed}"):
            seen.put_nowait(time.perf_counter())

    took = []
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        connections = [await stack.enter_async_context(Connection(measured.server)) for _ in range(watchers + 1)]
        watching = [group.create_task(watch(connection)) for connection in connections[1:]]
        for number in range(EVENTS):
            await asyncio.sleep(0.01)
            name = f"e{watchers}-{number}-{secrets.token_hex(3)}"
            began = time.perf_counter()
            await connections[0].ask("POST", measured.path, config_map(name))
            took.append(max([await seen.get() for _ in range(watchers)]) - began)
            await connections[0].ask("DELETE", f"{measured.path}/{name}")
            for _ in range(watchers):
                await seen.get()
        for task in watching:
            task.cancel()
    return statistics.median(took) * 1e3


async def lists(measured: Measured, query: str, *, paged: bool = False) -> float:
    """How many lists are read one after the other in a second."""
    count, began = 0, time.perf_counter()
    async with Connection(measured.server) as connection:
        while time.perf_counter() - began < LIST_S:
            document = await connection.ask("GET", measured.path + query)
            while paged and (token := json.loads(document)["metadata"].get("continue")):
                document = await connection.ask("GET", f"{measured.path}{query}&continue={token}")
            count += 1
    return count / (time.perf_counter() - began)


async def idle(measured: Measured) -> dict[str, float]:
    """What many watches cost, each of one name that nobody uses, and what the server can do beside them."""
    count = openable(IDLE)
    await create(measured, 0, SIZES[0])
    listed = json.loads(await _once(measured, f"{measured.path}?limit=1"))["metadata"]["resourceVersion"]
    numbers = iter(range(count))
    before_mb = resident_mb(measured.pid) if measured.pid else 0.0

    async def opener() -> None:
        for number in numbers:
            connection = await stack.enter_async_context(Connection(measured.server))
            name = f"metadata.name%3Didle-{number}"
            await connection.begin_watch(f"{measured.path}?watch=1&resourceVersion={listed}&fieldSelector={name}")

    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            for _ in range(OPENING):
                group.create_task(opener())
        found = {"watches": float(count)}
        if measured.pid:
            began = processor_s(measured.pid)
            await asyncio.sleep(IDLE_S)
            found["percent_of_a_core"] = (processor_s(measured.pid) - began) / IDLE_S * 100
            found["kb_each"] = (resident_mb(measured.pid) - before_mb) * 1e3 / count
        found["event_p50_ms"] = await events(measured, 1)
        found["create_per_s"] = (await create(measured, SIZES[0], 2 * SIZES[0]))["create_per_s"]
    return {f"idle {name}": value for name, value in found.items()}


def openable(wanted: int) -> int:
    """How many connections of so many this process may have at once; it is allowed what the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(wanted, most - SPARE_FILES)


async def _once(measured: Measured, path: str) -> bytes:
    async with Connection(measured.server) as connection:
        return await connection.ask("GET", path)


async def sizes(measured: Measured) -> dict[str, float]:
    """All figures but those of idle watches, at each size."""
    figures: dict[str, float] = {}
    there = 0
    for size in SIZES:
        found = await create(measured, there, size)
        there = size
        await asyncio.sleep(2)
        if measured.pid:
            found["memory_mb"] = resident_mb(measured.pid)
        found["event_p50_ms"] = await events(measured, 1)
        found["all_50_p50_ms"] = await events(measured, WATCHERS)
        found["list_per_s"] = await lists(measured, "")
        found["list_in_pages_per_s"] = await lists(measured, "?limit=500", paged=True)
        found["list_200_by_label_per_s"] = await lists(measured, "?labelSelector=few%3Dyes")
        figures |= {f"{size} {name}": value for name, value in found.items()}
    return figures


async def measure(step: Step, kubeconfig: Path, pid: int) -> dict[str, float]:
    """The figures of one step, in a namespace of its own."""
    measured = Measured(Server.of(kubeconfig), f"bench-{secrets.token_hex(3)}", pid)
    body = json.dumps({"metadata": {"name": measured.namespace}}).encode()
    async with Connection(measured.server) as connection:
        await connection.ask("POST", "/api/v1/namespaces", body)
    try:
        return await step(measured)
    finally:
        async with Connection(measured.server) as connection:
            await connection.ask("DELETE", f"/api/v1/namespaces/{measured.namespace}")


@contextmanager
def lab(folder: str) -> Iterator[tuple[Path, int, float]]:
    """A lab of its own: kubeconfig, process id, and how long it took to be ready."""
    command = [str(Path(sys.executable).with_name("isthmus")), "lab"]
    environment = {**os.environ, "ISTHMUS_LAB_DIR": folder}
    began = time.perf_counter()
    subprocess.run([*command, "up", "bench"], env=environment, check=True, stdout=subprocess.DEVNULL)
    ready = time.perf_counter() - began
    try:
        yield Path(folder) / "kubeconfig", ClusterFolder(Path(folder), "bench").pid() or 0, ready
    finally:
        subprocess.run([*command, "delete", "bench"], env=environment, check=True, stdout=subprocess.DEVNULL)


def report(figures: dict[str, Any]) -> None:
    """Print the table; keep the figures."""
    figures["load"] = os.getloadavg()
    sys.stdout.write("| figure | here | a real server |\n| --- | ---: | ---: |\n")
    for name, value in figures.items():
        if isinstance(value, float):
            sys.stdout.write(f"| {name} | {value:.1f} | {REAL.get(name, '')} |\n")
    path = Path("build/bench/lab.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="measure this server; without it, a lab of its own")
    parser.add_argument("--pid", type=int, default=0, help="its process, for its memory")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    for step in (sizes, idle):
        if arguments.kubeconfig:
            figures |= uvloop.run(measure(step, arguments.kubeconfig, arguments.pid))
            continue
        with tempfile.TemporaryDirectory(prefix="lab") as folder, lab(folder) as (kubeconfig, pid, ready):
            figures |= {"ready_s": ready, **uvloop.run(measure(step, kubeconfig, pid))}
    report(figures)


if __name__ == "__main__":
    main()
