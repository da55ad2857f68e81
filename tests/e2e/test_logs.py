"""``isthmus logs``: the logs of both sides as one, read and followed."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import BIN, Federation, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
CONTEXTS = ["--contexts", "red,green"]
BOTH_SIDES = {
    ("red-mesh", "istiod"),
    ("red-mesh", "egress-green-mesh"),
    ("red-mesh", "ingress-green-mesh"),
    ("green-mesh", "istiod"),
    ("green-mesh", "egress-red-mesh"),
    ("green-mesh", "ingress-red-mesh"),
}


def environment(federation: Federation) -> dict[str, str]:
    kubeconfigs = [str(site.data_dir / site.name / "kubeconfig") for site in federation.sites]
    return {**os.environ, "KUBECONFIG": os.pathsep.join(kubeconfigs)}


def logs(federation: Federation, *arguments: str) -> list[dict[str, Any]]:
    command = [str(BIN / "isthmus"), "logs", *arguments, "-o", "json"]
    done = subprocess.run(command, env=environment(federation), check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_logs_of_both_sides_are_one(federation: Federation) -> None:
    """All six components of both meshes, in the order of time, and no line about anything else."""
    entries = logs(federation, "green-mesh", *CONTEXTS, "--since", "1h")
    assert {(each["mesh"], each["component"]) for each in entries} == BOTH_SIDES
    assert [each["time"] for each in entries] == sorted(each["time"] for each in entries)
    named = {each.get("fields", {}).get("peer") for each in entries}
    assert named - {None, ""} <= {"green-mesh", "red-mesh"}
    assert {each["mesh"] for each in logs(federation, "green-mesh", "--contexts", "red")} == {"red-mesh"}


def test_a_pod_that_comes_is_followed_too(federation: Federation, tmp_path: Path) -> None:
    """Who follows sees the new control plane of a restart connect, without asking again."""
    with following(federation, tmp_path / "followed") as file:

        def entries() -> list[dict[str, Any]]:
            return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

        def pods() -> set[str]:
            return {each["pod"] for each in entries() if (each["mesh"], each["component"]) == ("red-mesh", "istiod")}

        eventually(lambda: len(entries()) > 3, what="lines come")
        federation.red.kubectl("rollout", "restart", "deploy/istiod-red-mesh")
        eventually(lambda: len(pods()) >= 2, what="lines of the old and of the new pod")
        for pod in pods():
            lines = [(each["time"], json.dumps(each)) for each in entries() if each["pod"] == pod]
            assert [time for time, _ in lines] == sorted(time for time, _ in lines)
            assert len(set(lines)) == len(lines), "no line twice"


@contextmanager
def following(federation: Federation, file: Path) -> Iterator[Path]:
    """``isthmus logs -f`` into a file, until Ctrl-C, which is no error."""
    command = [str(BIN / "isthmus"), "logs", "green-mesh", *CONTEXTS, "-f", "--since", "5s", "-o", "json"]
    with file.open("w") as output, subprocess.Popen(command, env=environment(federation), stdout=output) as process:
        try:
            yield file
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
