"""``isthmus link`` and ``isthmus unlink``: what is asked wrongly is told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["link", "red", "green", "--contexts", "a,b,c"], "2 meshes (red, green) and 3 contexts (a, b, c)"),
        (["link", "red", "green", "--contexts", "nowhere"], "No context 'nowhere'"),
        (["link", "red", "red"], "more than one mesh is called red"),
        (["link", "red", "green", "--address", "blue=x"], "address 'blue=x': blue is none of the meshes green, red"),
        (["unlink", "red", "green", "--contexts", "nowhere,-"], "No context 'nowhere'"),
        (["link", "red", "green", "--apply", "--output", "x"], "expected one of --apply and --output"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, arguments: list[str], says: str) -> None:
    """Exit status 2, and a line for each problem; no cluster is asked."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{clusters: [], contexts: [], users: []}")
    result = CliRunner().invoke(app, [*arguments, "--kubeconfig", str(kubeconfig)], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert says in result.stderr
