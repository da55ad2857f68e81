"""What each command says of itself: exit codes that are told, and examples that can be run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from isthmus.cli.app import app

SHELL_WORDS = {"|", ">", "<", "#"}


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command that does something, with the words by which it is called."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from leaves(each, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app), ("isthmus",)))
IDS = [" ".join(path) for path in COMMANDS]


def examples(command: Any) -> list[list[str]]:
    """The examples in a command's help, as words; of a pipe, the part that is ours."""
    found = []
    for line in (command.epilog or "").partition("Examples:")[2].strip().splitlines():
        parts = [part.strip() for part in line.split(" | ")]
        found += [shlex.split(part, comments=True) for part in parts if part.startswith("isthmus ")]
    return found


@pytest.mark.parametrize(("path", "command"), COMMANDS.items(), ids=IDS)
def test_every_command_tells_its_exit_codes(path: tuple[str, ...], command: Any) -> None:
    """At the end of its help, beginning with 0; nowhere else."""
    codes = re.match(r"Exit codes: 0: .+", command.epilog or "")
    assert codes, path
    assert "Exits with" not in (command.help or "")
    shown = CliRunner().invoke(app, [*path[1:], "--help"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    assert "Exit codes: 0:" in shown.output


@pytest.mark.parametrize(("path", "command"), COMMANDS.items(), ids=IDS)
def test_the_examples_of_every_command_can_be_run(path: tuple[str, ...], command: Any) -> None:
    """Each is of this command, and its options and arguments are ones that it takes."""
    told = examples(command)
    assert told, path
    for words in told:
        assert tuple(words[: len(path)]) == path
        given = words[len(path) :]
        end = next((index for index, word in enumerate(given) if word in SHELL_WORDS), len(given))
        command.make_context(" ".join(path), given[:end])


def test_the_document_has_the_exit_codes() -> None:
    """docs/cli.md, which is made of the help, has them for every command."""
    document = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert document.count("Exit codes: 0:") == len(COMMANDS)
