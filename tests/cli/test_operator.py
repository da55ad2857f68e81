"""``isthmus operator``."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx2
import pytest
import yaml
from tests.cli.test_help import COMMANDS
from tests.kube.lab import lab
from tests.waiting import until
from typer.testing import CliRunner

from isthmus.api.crds import crds
from isthmus.cli.app import app


def test_missing_configuration_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Without a usable kubeconfig the command says which one it tried, and fails."""
    result = CliRunner().invoke(app, ["operator", "--kubeconfig", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "nowhere" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("command", ["operator", "pilot", "gateway"])
def test_a_log_level_that_there_is_not_is_an_error_of_usage(command: str) -> None:
    """It is told with those that there are, before anything is done."""
    required = [each for each in COMMANDS["isthmus", command].params if each.required]
    options = [word for each in required for word in (each.opts[0], "egress" if each.name == "role" else "x")]
    result = CliRunner().invoke(app, [command, *options, "--log-level", "loud"], env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert "'loud': expected one of trace, debug, info" in result.stderr


async def test_becomes_ready_and_stops_when_told(tmp_path: Path) -> None:
    """The process answers that it is ready once it follows the cluster, and SIGTERM ends it without an error."""
    async with lab(tmp_path) as cluster, httpx2.AsyncClient() as http:
        await cluster.create(yaml.safe_dump_all(crds()))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from isthmus.cli import main; main()", "operator"),
            *("--kubeconfig", str(cluster.kubeconfig)),
            *("--address", "127.0.77.1", "--port", "18080"),
        )

        async def ready() -> bool:
            try:
                return (await http.get("http://127.0.77.1:18080/ready")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(ready)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
