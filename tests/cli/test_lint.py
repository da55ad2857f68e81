"""``isthmus lint``: files, folders and standard input in, findings and an exit code out."""

import json
from pathlib import Path

import pytest
from tests.doctor.lint.files import two_meshes
from typer.testing import CliRunner

from isthmus.cli.app import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in two_meshes().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.txt").write_text("[")
    return tmp_path


def test_a_folder_is_read_with_all_below_it(folder: Path) -> None:
    """Files of other kinds are passed over; a file named twice counts once."""
    result = CliRunner().invoke(app, ["lint", "-f", str(folder), "-f", str(folder / "red" / "smcp.yaml")])
    assert (result.exit_code, result.stdout) == (0, "0 errors, 0 warnings, 0 info in 6 resources of 2 meshes\n")


def test_an_error_is_exit_code_1_and_a_warning_with_strict(folder: Path) -> None:
    """Warnings alone are no failure unless asked for."""
    (folder / "red" / "root.yaml").unlink()
    assert CliRunner().invoke(app, ["lint", "-f", str(folder)]).exit_code == 0
    assert CliRunner().invoke(app, ["lint", "-f", str(folder), "--strict"]).exit_code == 1
    (folder / "green" / "servicemeshpeer.yaml").unlink()
    result = CliRunner().invoke(app, ["lint", "-f", str(folder), "-o", "json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["summary"]["error"] == 2


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("missing.yaml", None, "missing.yaml: No such file"),
        ("bad.yaml", "a: [", "error: no YAML: while parsing a flow node"),
        ("other.yaml", "kind: Pod\n", "no resource of a federation"),
        ("", "", "no file that ends with"),
    ],
)
def test_unusable_input_is_exit_code_2(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    """With what cannot be used, and why."""
    if name and text is not None:
        (tmp_path / name).write_text(text)
    result = CliRunner().invoke(app, ["lint", "-f", str(tmp_path / name)])
    assert result.exit_code == 2
    assert says in result.output


def test_standard_input_is_a_file_too() -> None:
    """As the output of a renderer comes."""
    result = CliRunner().invoke(app, ["lint", "-f", "-"], input="\n---\n".join(two_meshes().values()))
    assert result.exit_code == 0, result.output
