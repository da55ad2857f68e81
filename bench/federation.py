"""What federation costs as the number of shared services grows; ``make bench``.

Each size has two meshes of its own, brought up for it. Prints a table and keeps all figures in
``build/bench/federation.json``. What each figure means, and what was reached where: docs/performance.md.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.changes import Observed, answered, create, now, observed, side_by_side
from bench.data_path import compare
from bench.two_meshes import (
    REPOSITORY,
    Exports,
    Imports,
    TwoMeshes,
    listening_ports,
    processes,
    rules,
    two_meshes,
)
from lightkube.models.meta_v1 import ObjectMeta

SIZES = (10, 100, 1_000, 10_000)
CHANGES = 50
BURST = 900
SAMPLE = 20
SIZE_TIMEOUT_S = 900.0
ALL_OF_BOOKINFO = {"type": "NameSelector", "nameSelector": {"namespace": "bookinfo", "name": "*"}}


async def measure(size: int, *, data_path: bool) -> dict[str, Any]:
    """All figures for one number of shared services."""
    async with two_meshes() as meshes:
        figures: dict[str, Any] = {"services": size, "memory_at_1_mb": memory(meshes)}
        await set_rules(meshes, Exports, exportRules=rules(ALL_OF_BOOKINFO))
        began = now()
        await side_by_side((create(meshes, f"s{number}") for number in range(1, size)), at_once=8)
        figures["created_s"] = now() - began
        tell(size, "created", figures["created_s"])
        async with observed(meshes) as seen:
            await seen.imports.wait("ratings")
            figures["first_import"] = await first_import(meshes, seen, size)
            figures["memory_mb"] = memory(meshes)
            figures["change"] = await changes(meshes, seen)
            tell(size, "changes", figures["change"])
            figures["burst"] = await burst(meshes, seen)
            tell(size, "burst", figures["burst"])
            figures["cold_start_s"] = await cold_start(meshes, seen)
            tell(size, "cold start", figures["cold_start_s"])
        figures["memory_at_end_mb"] = memory(meshes)
        figures["both_ways_mb"] = await both_ways(meshes, size)
        tell(size, "red exports as many as it imports, MB", figures["both_ways_mb"])
        if data_path:
            figures["data_path"] = await compare(meshes)
            tell(size, "data path", figures["data_path"])
    return figures


async def set_rules(meshes: TwoMeshes, kind: Any, **spec: Any) -> None:
    """Give green's exports or red's imports these rules."""
    side = meshes.green if kind is Exports else meshes.red
    await side.change(kind, side.peer, spec)


async def first_import(meshes: TwoMeshes, seen: Observed, size: int) -> dict[str, float]:
    """A mesh begins to import all that its peer exports: until every Service is there, until those asked answer."""
    began = now()
    await set_rules(meshes, Imports, importRules=rules(ALL_OF_BOOKINFO))
    await seen.imports.wait_count(size, timeout_s=SIZE_TIMEOUT_S)
    objects_s = now() - began
    await all_answer(await meshes.egress(), seen)
    figures = {"objects_s": objects_s, "served_s": now() - began}
    tell(size, "first import", figures)
    return figures


async def both_ways(meshes: TwoMeshes, size: int) -> float:
    """Let red export as many services as it imports; what its control plane takes then."""
    red = meshes.red
    metadata = ObjectMeta(name=red.peer, namespace=red.namespace)
    await red.client.create(Exports(metadata=metadata, spec={"exportRules": [ALL_OF_BOOKINFO]}))
    await side_by_side((create(meshes, f"own-{number}", in_red=True) for number in range(size)), at_once=8)
    async with asyncio.timeout(SIZE_TIMEOUT_S):
        while await exported_by_red(meshes) < size:  # noqa: ASYNC110  (a process of its own)
            await asyncio.sleep(1)
    return memory(meshes)["red-mesh pilot"]


async def exported_by_red(meshes: TwoMeshes) -> int:
    """How many services red exports, as the status of its ExportedServiceSet says."""
    red = meshes.red
    found: dict[str, Any] = dict(await red.client.get(Exports, red.peer, namespace=red.namespace))
    return int(found.get("status", {}).get("exported") or 0)


async def all_answer(address: str, seen: Observed) -> None:
    """Ask imports from the first to the last that was made, evenly spread, until each has answered."""
    ports = sorted(seen.imports.values.values())
    asked = {*ports[:: max(1, len(ports) // SAMPLE)], ports[-1]}
    await side_by_side((answered(address, port, pause_s=0.02) for port in asked), at_once=8)


async def changes(meshes: TwoMeshes, seen: Observed) -> dict[str, Any]:
    """One more Service, fifty times, each alone."""
    address = await meshes.egress()
    pilots = [processes(side)["pilot"] for side in (meshes.green, meshes.red)]
    cpu_s = [pilot.cpu_s for pilot in pilots]
    samples = []
    for number in range(CHANGES):
        samples.append(await change(meshes, seen, f"change-{number}", address))
        await asyncio.sleep(0.1)
    exporting, importing = [(pilot.cpu_s - before) / CHANGES for pilot, before in zip(pilots, cpu_s, strict=True)]
    return {
        **{f"{what}_ms": spread(sample[what] * 1000 for sample in samples) for what in ("event", "import", "answer")},
        "bytes": statistics.mean(sample["bytes"] for sample in samples),
        "cpu_s": {"exporting_pilot": exporting, "importing_pilot": importing},
        "samples": samples,
    }


async def change(meshes: TwoMeshes, seen: Observed, name: str, address: str) -> dict[str, float]:
    """One more Service: when it is told, when it is imported, when it answers."""
    created = await create(meshes, name)
    imported = await seen.imports.wait(name)
    answer = await answered(address, seen.imports.values[name])
    event = await seen.events.wait(name)
    return {
        "event": event - created,
        "import": imported - created,
        "answer": answer - created,
        "bytes": seen.events.values[name],
    }


async def cold_start(meshes: TwoMeshes, seen: Observed) -> float:
    """Kill the importing pilot and its egress gateway: until imports, evenly spread, are served by the new ones."""
    address = await meshes.egress()
    await asyncio.sleep(3)
    found = processes(meshes.red)
    began = now()
    for role in ("pilot", f"egress-{meshes.green.mesh} agent"):
        os.kill(found[role].pid, signal.SIGKILL)
    while listening_ports(address):  # noqa: ASYNC110  (the socket tables of another process)
        await asyncio.sleep(0.005)
    await all_answer(address, seen)
    return now() - began


async def burst(meshes: TwoMeshes, seen: Observed) -> dict[str, float]:
    """Nine hundred more, as fast as the API server takes them: until each has answered."""
    address, began = await meshes.egress(), now()
    names = [f"burst-{number}" for number in range(BURST)]

    async def served(name: str) -> float:
        await seen.imports.wait(name)
        return await answered(address, seen.imports.values[name], pause_s=0.02)

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(side_by_side(map(served, names), at_once=32))
        last = max(await side_by_side((create(meshes, name) for name in names), at_once=8))
    return {"created_s": last - began, "served_after_last_s": max(serving.result()) - last}


def memory(meshes: TwoMeshes) -> dict[str, float]:
    """Resident memory of all processes of both meshes."""
    return {
        f"{side.mesh} {role}": process.memory_mb
        for side in (meshes.red, meshes.green)
        for role, process in sorted(processes(side).items())
    }


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median and 99th percentile: of fifty values, the largest."""
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]}


def tell(size: int, what: str, value: Any) -> None:
    """One line as it goes."""
    shown = {key: each for key, each in value.items() if key != "samples"} if isinstance(value, dict) else value
    print(f"[{size}] {what}: {json.dumps(rounded(shown))}", file=sys.stderr, flush=True)


def rounded(value: Any) -> Any:
    """The value with numbers as a person reads them."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


Figures = dict[str, Any]
ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("event on the wire, p50 / p99 ms", lambda f: pair(f["change"]["event_ms"])),
    ("imported, p50 / p99 ms", lambda f: pair(f["change"]["import_ms"])),
    ("first answer, p50 / p99 ms", lambda f: pair(f["change"]["answer_ms"])),
    ("discovery, bytes per change", lambda f: f"{f['change']['bytes']:.0f}"),
    ("CPU ms per change, exporting pilot", lambda f: f"{1000 * f['change']['cpu_s']['exporting_pilot']:.1f}"),
    ("CPU ms per change, importing pilot", lambda f: f"{1000 * f['change']['cpu_s']['importing_pilot']:.1f}"),
    ("importing pilot, MB", lambda f: f"{f['memory_mb']['red-mesh pilot']:.0f}"),
    ("  exporting as many as well, MB", lambda f: f"{f['both_ways_mb']:.0f}"),
    ("exporting pilot, MB", lambda f: f"{f['memory_mb']['green-mesh pilot']:.0f}"),
    ("egress gateway, MB", lambda f: f"{f['memory_mb']['red-mesh egress-green-mesh']:.0f}"),
    ("ingress gateway, MB", lambda f: f"{f['memory_mb']['green-mesh ingress-red-mesh']:.0f}"),
    (
        "first import of all, objects / answers, s",
        lambda f: "{objects_s:.1f} / {served_s:.1f}".format(**f["first_import"]),
    ),
    ("cold start until served, s", lambda f: f"{f['cold_start_s']:.1f}"),
    ("900 created in, s", lambda f: f"{f['burst']['created_s']:.1f}"),
    ("  served after the last, s", lambda f: f"{f['burst']['served_after_last_s']:.1f}"),
)


def pair(values: dict[str, float]) -> str:
    """Median and 99th percentile."""
    return f"{values['p50']:.0f} / {values['p99']:.0f}"


def table(results: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [["shared services", *(f"{figures['services']:,}" for figures in results)]]
    lines.append(["---", *("---:" for _ in results)])
    lines += [[name, *(show(figures) for figures in results)] for name, show in ROWS]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def data_path_table(figures: dict[str, Any]) -> str:
    """The data path beside the pair configured by hand."""
    lines = ["", "| data path | Isthmus | by hand | ratio |", "| --- | ---: | ---: | ---: |"]
    for kind in ("kept", "new"):
        each = figures[kind]
        ours, theirs = each["isthmus"], each["by_hand"]
        lines.append(
            f"| {kind} connections, requests/s | {ours['requests_per_s']:.0f} | {theirs['requests_per_s']:.0f} |"
            f" {each['ratio']:.2f} |"
        )
        lines += [
            f"| {kind} connections, {which} ms | {ours[f'{which}_ms']:.2f} | {theirs[f'{which}_ms']:.2f} | |"
            for which in ("p50", "p99")
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of shared services")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "federation.json")
    sizes = parser.parse_args().sizes
    output: Path = parser.parse_args().output
    results = []
    for size in sizes:
        results.append(asyncio.run(asyncio.wait_for(measure(size, data_path=size == sizes[0]), SIZE_TIMEOUT_S)))
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(rounded(results), indent=2) + "\n")
    print(table(results))
    print(data_path_table(results[0]["data_path"]))


if __name__ == "__main__":
    main()
