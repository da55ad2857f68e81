"""``isthmus invite`` and ``isthmus join``: what is asked wrongly is told, and no cluster is asked."""

from pathlib import Path

import pytest
from tests.federation.meshes import TOKEN
from typer.testing import CliRunner

from isthmus.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["invite"], "expected PEER, or --list"),
        (["invite", "green", "--list"], "expected PEER, or --list"),
        (["invite", "--revoke"], "expected PEER, or --list"),
        (["invite", "green", "--ttl", "forever"], "lifetime 'forever'"),
        (["invite", "Green/Mesh"], "which is a DNS label"),
        (["invite", "green", "--context", "nowhere"], "No context 'nowhere'"),
        (["join", "hello"], "expected text that starts with isthmus1."),
        (["join", TOKEN.text[:-5]], "incomplete or damaged"),
        (["join", "-", "--context", "nowhere"], "No context 'nowhere'"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, arguments: list[str], says: str) -> None:
    """Exit status 2 and a line that says why; nothing of a token is said again."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{clusters: [], contexts: [], users: []}")
    command = [*arguments, "--kubeconfig", str(kubeconfig)]
    result = CliRunner().invoke(app, command, input=TOKEN.text, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert says in result.stderr
    assert TOKEN.text[:80] not in result.output
