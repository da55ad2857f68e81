"""The commands of the README work as they stand, in their order."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.markdown import REPOSITORY, blocks

NOT_HERE = ("make demo\n", "make test\n")
"""Tested by others, and by being run at this moment."""
SET_UP = ("make setup\n", ". .venv/bin/activate\n")
"""The environment of the tests is the one that these make."""
CLEAN_UP = """
trap 'if [ -d "$ISTHMUS_LAB_DIR" ]; then isthmus lab down; rm -r "$ISTHMUS_LAB_DIR"; fi' EXIT
trap 'exit 1' TERM
"""
"""What the README ends with; here also if a command fails."""
TIMEOUT_S = 150


def _script() -> str:
    code = "".join(block.code for block in blocks(REPOSITORY / "README.md") if block.language == "sh")
    for line in (*NOT_HERE, *SET_UP):
        assert line in code
        code = code.replace(line, "")
    labs = 'export ISTHMUS_LAB_DIR="$(mktemp -d)"\n'
    assert labs in code
    return code.replace(labs, labs + CLEAN_UP)


def _run(script: str) -> tuple[int, str]:
    """Exit status and standard output; what takes too long is told to end, and cleans up."""
    environment = {name: value for name, value in os.environ.items() if name not in {"KUBECONFIG", "TMPDIR"}}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = ["bash", "-euc", script]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate()
        return process.returncode, output


@pytest.mark.e2e
@pytest.mark.envoy
@pytest.mark.kubectl
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S + 30)
def test_the_commands_of_the_readme_federate_two_meshes() -> None:
    """Whoever copies the README line by line ends with an answer of green to a client in red, and with nothing left."""
    status, output = _run(_script())
    assert status == 0, output
    assert '"servedBy": "green-mesh"' in output
    assert "red deleted\ngreen deleted" in output
