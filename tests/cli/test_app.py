"""The root command."""

from typer.testing import CliRunner

from isthmus.cli.app import app


def test_help_names_the_project() -> None:
    """``isthmus --help`` succeeds and says what the program is for."""
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Federation of service meshes" in result.output
