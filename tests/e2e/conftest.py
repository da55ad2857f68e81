"""The demonstration, left running, for tests that do to it what happens to real meshes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "two-meshes"


@dataclass(frozen=True)
class Site:
    """One cluster with its mesh, as its administrator has it before them: kubectl and the files."""

    name: str
    other: str
    data_dir: Path

    @property
    def mesh(self) -> str:
        return f"{self.name}-mesh"

    @property
    def peer(self) -> str:
        """The name of the other mesh, and of the ServiceMeshPeer for it."""
        return f"{self.other}-mesh"

    @property
    def namespace(self) -> str:
        return f"{self.mesh}-system"

    @property
    def files(self) -> Path:
        return EXAMPLES / self.name

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        kubeconfig = self.data_dir / self.name / "kubeconfig"
        command = [str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), "-n", self.namespace, *arguments]
        return subprocess.run(command, input=stdin, check=check, capture_output=True, text=True, timeout=60)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def discovery_status(self) -> dict[str, list[dict[str, Any]]]:
        """``status.discoveryStatus`` of the peer; empty lists while there is none."""
        found = self.kubectl("get", "servicemeshpeer", self.peer, "-o", "json", check=False)
        status = json.loads(found.stdout).get("status", {}) if found.returncode == 0 else {}
        return {"active": [], "inactive": [], **status.get("discoveryStatus", {})}

    def is_active(self) -> bool:
        """Whether our watch stands and the peer watches us."""
        return any(
            entry["watch"]["connected"] and any(remote["connected"] for remote in entry.get("remotes", []))
            for entry in self.discovery_status()["active"]
        )

    def inactive_cause(self) -> str:
        """Why the watch does not stand, as the status tells it; empty while it stands."""
        causes = [entry["watch"].get("lastDisconnectStatus", "") for entry in self.discovery_status()["inactive"]]
        return causes[0] if causes else ""

    def patch_peer(self, **spec: Any) -> None:
        self.kubectl("patch", "servicemeshpeer", self.peer, "--type=merge", "-p", json.dumps({"spec": spec}))

    def restore_peer(self) -> None:
        """The peer's resource as the example has it: without fields that a test has added, and there if it was gone."""
        file = str(self.files / "servicemeshpeer.yaml")

        def is_restored() -> bool:
            """A replacement conflicts with a status that is written in the same moment: then once more."""
            return any(self.kubectl(verb, "-f", file, check=False).returncode == 0 for verb in ("replace", "create"))

        eventually(is_restored, what=f"{self.mesh}'s peer is as in {file}")

    def logs(self, deployment: str) -> str:
        return self.kubectl("logs", f"deploy/{deployment}").stdout

    def process(self, *words: str) -> int:
        """The process of this cluster's pods whose command line has all these words."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().decode().split("\0")
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if set(words) <= set(command) and str(self.data_dir / self.name).encode() in environment:
                return int(folder.name)
        raise AssertionError(f"no process of {self.name} with {words}")


@dataclass(frozen=True)
class Federation:
    """Two meshes that are each other's peer; green exports ratings to red."""

    red: Site
    green: Site

    @property
    def sites(self) -> tuple[Site, Site]:
        return (self.red, self.green)

    def last_answer(self) -> dict[str, Any]:
        """What the client in red said last."""
        lines = self.red.kubectl("logs", "-n", "bookinfo", "deploy/client", "--tail=1").stdout.splitlines()
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {"status": 0}
        return answer

    def described(self) -> str:
        """What is known of the state, for the message of a test that failed."""
        statuses = {site.mesh: site.discovery_status() for site in self.sites}
        logs = {site.mesh: site.kubectl("logs", f"deploy/istiod-{site.mesh}", "--tail=8").stdout for site in self.sites}
        return f"{json.dumps(statuses, indent=1)}\n{self.last_answer()}\n" + "\n".join(logs.values())

    def is_whole(self) -> bool:
        """Whether both links stand in both directions and a request is answered."""
        return all(site.is_active() for site in self.sites) and self.last_answer()["status"] == 200


def eventually(condition: Callable[[], object], *, within_s: float = 30.0, what: str = "") -> float:
    """Poll until the condition holds; seconds it took. Fails when it does not."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within_s:
            pytest.fail(f"not within {within_s} s: {what or condition}")
        time.sleep(0.05)
    return time.monotonic() - began


def wait_whole(federation: Federation, *, when: str) -> None:
    """Wait until both links stand and a request is answered; the failure tells the state."""
    try:
        eventually(federation.is_whole, what=f"federation is whole {when}")
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}\n{federation.described()}")


@contextmanager
def demonstration(meshes: str) -> Iterator[tuple[Path, Any]]:
    """``isthmus demo`` of these meshes, left running: the folder of its clusters, and what it reported."""
    with tempfile.TemporaryDirectory(prefix="isthmus-e2e-", ignore_cleanup_errors=True) as folder:
        command = [str(BIN / "isthmus"), "demo", "--output", "json", "--data-dir", folder, "--meshes", meshes]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, "isthmus demo ended without a report"
                yield Path(folder), json.loads(line)
            finally:
                process.send_signal(signal.SIGINT)
        assert process.returncode == 0
        assert processes_with(folder) == []


@pytest.fixture(scope="session")
def running_demo() -> Iterator[Federation]:
    with demonstration("red,green") as (data_dir, report):
        assert report["requests"][0]["status"] == 200
        yield Federation(Site("red", "green", data_dir), Site("green", "red", data_dir))


def processes_with(text: str) -> list[str]:
    """Command lines of processes that have the text in their environment or command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            everything = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in everything and int(folder.name) != os.getpid():
            found.append((folder / "cmdline").read_bytes().decode().replace("\0", " "))
    return found


@pytest.fixture
def federation(running_demo: Federation) -> Iterator[Federation]:
    """The two meshes, whole; and whole again after the test, whatever it did."""
    wait_whole(running_demo, when="before the test")
    yield running_demo
    for site in running_demo.sites:
        site.restore_peer()
    wait_whole(running_demo, when="again after the test")
