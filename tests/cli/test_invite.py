"""``isthmus invite`` and ``isthmus join``: what is asked wrongly is told, and no cluster is asked."""

from pathlib import Path

import msgspec
import pytest
from tests.federation.meshes import TOKEN
from typer.testing import CliRunner

from isthmus.cli.app import app
from isthmus.cli.invite import wrapped
from isthmus.federation.invitation import Token


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


def test_a_long_token_can_be_pasted() -> None:
    """It is one line while a terminal takes it as one, and the lines of a longer one are the same token."""
    assert wrapped(TOKEN.text) == [TOKEN.text]
    inviter = msgspec.structs.replace(TOKEN.invitation.inviter, root=TOKEN.invitation.inviter.root * 9)
    long = Token(msgspec.structs.replace(TOKEN.invitation, inviter=inviter), TOKEN.secret)
    lines = wrapped(long.text)
    assert len(lines) > 1
    assert max(map(len, lines)) < 4095
    assert Token.parse("\n".join(lines)) == long
