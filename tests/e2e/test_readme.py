"""The README's commands, run as they stand: all shell blocks under "The same by hand", in order, in one shell."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import BIN, REPOSITORY, processes_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
SECTION = "## The same by hand"
SETUP = {"make setup", ". .venv/bin/activate"}
"""What the tests' own environment stands for."""


def commands() -> str:
    """The shell blocks of the section, without the set-up."""
    text = (REPOSITORY / "README.md").read_text()
    section = text[text.index(SECTION) :].split("\n## ")[0] if SECTION in text else ""
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    return "".join(line + "\n" for block in blocks for line in block.splitlines() if line not in SETUP)


def test_the_same_by_hand(tmp_path: Path) -> None:
    """Typed one after the other, the commands bring up two meshes, federate them, and show an answered request."""
    script = commands()
    assert script.count("kubectl") > 10
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    try:
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    finally:
        for folder in tmp_path.glob("tmp.*"):
            subprocess.run([str(BIN / "isthmus"), "lab", "down", "--data-dir", str(folder)], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status": 200' in done.stdout
    assert '"servedBy": "green-mesh"' in done.stdout
    assert processes_with(str(tmp_path)) == []
