"""How processes end that cannot go on."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest
import typer
from tests.kube.lab import lab

from isthmus.cli.failing import failing
from isthmus.pilot.settings import CA_PORT, DISCOVERY_PORT, DNS_PORT, MONITORING_PORT, XDS_PORT

ADDRESS = "127.0.77.2"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: red-mesh-system}"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (OSError("taken"), ["isthmus it: taken"]),
        (TimeoutError(), ["isthmus it: TimeoutError"]),
        (ExceptionGroup("one", [OSError("taken")]), ["isthmus it: taken"]),
        (
            ExceptionGroup("two", [OSError("taken"), ExceptionGroup("", [OSError("gone"), OSError("taken")])]),
            ["isthmus it: taken", "isthmus it: gone"],
        ),
    ],
    ids=["alone", "without words", "in a group", "in groups of groups"],
)
def test_each_reason_is_a_line(error: Exception, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told once, and the exit status is 1."""
    with pytest.raises(typer.Exit) as ended, failing("it", of=(OSError,)):
        raise error
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.splitlines() == lines


def test_a_bug_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not expected comes out, alone, and the rest is told beside it."""
    with pytest.raises(KeyError), failing("it", of=(OSError,)):
        raise KeyError("bug")
    with pytest.raises(ExceptionGroup) as raised, failing("it", of=(OSError,)):
        raise ExceptionGroup("both", [OSError("taken"), KeyError("bug")])
    assert [repr(error) for error in raised.value.exceptions] == ["KeyError('bug')"]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("port", [MONITORING_PORT, DISCOVERY_PORT, DNS_PORT, CA_PORT, XDS_PORT])
async def test_a_control_plane_whose_port_is_taken_says_so_in_one_line(tmp_path: Path, port: int) -> None:
    """Whichever it is, even if whoever has it would share it."""
    async with lab(tmp_path) as cluster:
        _, crds = await _run("crds")
        await cluster.create(crds.decode())
        await cluster.create(NAMESPACE)
        with socket.create_server((ADDRESS, port), reuse_port=True):
            code, said = await _run(
                *("pilot", "--mesh", "red-mesh", "--namespace", "red-mesh-system", "--trust-domain", "red.local"),
                *("--pod-name", "istiod", "--pod-ip", ADDRESS, "--kubeconfig", str(cluster.kubeconfig)),
            )
    (line,) = [line for line in said.decode().splitlines() if not line.startswith('{"')]
    assert (code, line.startswith("isthmus pilot: "), str(port) in line) == (1, True, True), line


async def _run(*arguments: str) -> tuple[int, bytes]:
    """Exit status of a command, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from isthmus.cli import main; main()", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output
