"""How long the link between two meshes takes to stand, to fall and to stand again; ``make bench-link``.

Runs the demonstration, then creates and deletes peers and kills a gateway, and watches the status over the Kubernetes
API. Prints a table and keeps the figures in ``build/bench/link.json``.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import yaml
from lightkube import Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[1]
REPEATS = 10
Peer = create_namespaced_resource("federation.maistra.io", "v1", "ServiceMeshPeer", "servicemeshpeers")


class Side:
    """One mesh: its API, and the moment at which its peer was last seen to become active or inactive."""

    def __init__(self, name: str, other: str, data_dir: Path) -> None:
        self.namespace, self.peer, self.name = f"{name}-mesh-system", f"{other}-mesh", name
        self.folder = data_dir / name
        self.client = Client(config=KubeConfig.from_file(self.folder / "kubeconfig").get())
        self.resource = yaml.safe_load((REPOSITORY / "examples/two-meshes" / name / "servicemeshpeer.yaml").read_text())
        self.status: dict[str, Any] = {}
        self.news = threading.Condition()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        with suppress(httpx2.HTTPError):  # the cluster is taken down at the end
            for _, seen in self.client.watch(Peer, namespace=self.namespace, server_timeout=3600):
                with self.news:
                    self.status = (seen.get("status") or {}).get("discoveryStatus") or {}
                    self.news.notify_all()

    def wait(self, condition: Callable[[dict[str, Any]], object]) -> float:
        with self.news:
            if not self.news.wait_for(lambda: condition(self.status), timeout=60):
                raise TimeoutError(f"{self.name}: not within 60 s: {self.status}")
        return time.monotonic()


def is_active(status: dict[str, Any]) -> bool:
    return any(
        pod["watch"]["connected"] and any(remote["connected"] for remote in pod.get("remotes", []))
        for pod in status.get("active", [])
    )


@contextmanager
def demonstration() -> Iterator[tuple[dict[str, Any], Path]]:
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-", ignore_cleanup_errors=True) as folder:
        command = [str(BIN / "isthmus"), "demo", "--output", "json", "--data-dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None  # noqa: S101
            yield json.loads(process.stdout.readline()), Path(folder)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def recreate(sides: tuple[Side, Side]) -> float:
    """From the first ``create`` until both sides are active in both directions."""
    for side in sides:
        side.client.delete(Peer, side.peer, namespace=side.namespace)
    time.sleep(1)
    for side in sides:
        side.status = {}
    began = time.monotonic()
    for side in sides:
        side.client.create(Peer(side.resource))
    return max(side.wait(is_active) for side in sides) - began


def kill_ingress(sides: tuple[Side, Side]) -> tuple[float, float, str]:
    """From kill -9 of green's ingress gateway: until red is inactive, until it is active again; and the cause told."""
    red, green = sides
    time.sleep(2)  # the status is written at most once a second
    os.kill(process(green.folder, b"ingress-red-mesh"), signal.SIGKILL)
    began = time.monotonic()
    inactive = red.wait(lambda status: status.get("inactive"))
    cause = red.status["inactive"][0]["watch"]["lastDisconnectStatus"]
    return inactive - began, red.wait(is_active) - began, cause


def process(folder: Path, word: bytes) -> int:
    for found in Path("/proc").glob("[0-9]*"):
        try:
            words = (found / "cmdline").read_bytes().split(b"\0")
            if word in words and b"gateway" in words and str(folder).encode() in (found / "environ").read_bytes():
                return int(found.name)
        except OSError:
            continue
    raise LookupError(word)


def memory_mb(data_dir: Path) -> dict[str, float]:
    """Proportional set size of every process of the demonstration, summed by what it is."""
    sums: dict[str, float] = {}
    for found in Path("/proc").glob("[0-9]*"):
        try:
            words = (found / "cmdline").read_bytes().decode().split("\0")
            if str(data_dir) not in " ".join(words) + (found / "environ").read_bytes().decode():
                continue
            pss = next(line for line in (found / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        kind = next(
            (word for word in ("pilot", "operator", "gateway", "lab", "demo") if word in words), Path(words[0]).name
        )
        sums[kind] = sums.get(kind, 0) + int(pss.split()[1]) / 1024
    return {kind: round(size, 1) for kind, size in sorted(sums.items())}


def main() -> None:
    with demonstration() as (report, data_dir):
        sides = (Side("red", "green", data_dir), Side("green", "red", data_dir))
        for side in sides:
            side.wait(is_active)
        created = [recreate(sides) for _ in range(REPEATS)]
        killed = [kill_ingress(sides) for _ in range(3)]
        memory = memory_mb(data_dir)
    figures = {
        "demo_timings_s": report["timings_s"],
        "create_to_active_s": {"median": round(statistics.median(created), 3), "max": round(max(created), 3)},
        "ingress_killed": [
            {"inactive_s": round(down, 3), "active_again_s": round(up, 3), "cause": cause} for down, up, cause in killed
        ],
        "memory_mb": memory,
        "memory_total_mb": round(sum(memory.values()), 1),
    }
    path = REPOSITORY / "build" / "bench" / "link.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
