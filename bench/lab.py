"""What a lab's API server can do, next to what a real one did on such a machine; ``make bench-lab``.

Measures a lab that it brings up itself, or any API server by its kubeconfig. Prints a table and keeps all figures in
``build/bench/lab.json``. What each figure means, and what was reached where: docs/lab.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from bench.http_connection import Connection, Server, resident_mb

from isthmus.lab.clusters import ClusterFolder

WRITERS, SIZES, FEW = 8, (2_000, 20_000), 200
EVENTS, WATCHERS, LIST_S = 200, 50, 4.0
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
"""A kube-apiserver 1.33 with etcd 3.5 on two cores, measured in the same way."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured: a server, and the namespace in it. ``pid`` is 0 when its process is not ours to see."""

    server: Server
    namespace: str
    pid: int

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"


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


async def _once(measured: Measured, path: str) -> bytes:
    async with Connection(measured.server) as connection:
        return await connection.ask("GET", path)


async def measure(measured: Measured) -> dict[str, Any]:
    """All figures, at each size."""
    async with Connection(measured.server) as connection:
        await connection.ask(
            "POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": measured.namespace}}).encode()
        )
    figures: dict[str, Any] = {}
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
    async with Connection(measured.server) as connection:
        await connection.ask("DELETE", f"/api/v1/namespaces/{measured.namespace}")
    return figures


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
    namespace = f"bench-{secrets.token_hex(3)}"
    if arguments.kubeconfig:
        report(uvloop.run(measure(Measured(Server.of(arguments.kubeconfig), namespace, arguments.pid))))
        return
    with tempfile.TemporaryDirectory(prefix="lab") as folder, lab(folder) as (kubeconfig, pid, ready):
        report({"ready_s": ready, **uvloop.run(measure(Measured(Server.of(kubeconfig), namespace, pid)))})


if __name__ == "__main__":
    main()
