"""``isthmus preview``: files in, what they would do out."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus.cli.app import app


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: ServiceMeshPeer\n", "holds no ExportedServiceSet"),
        ("kind: [\n", "no YAML"),
        ("kind: " + "[" * 10_000, "no YAML"),
        ("kind: !!bool x\n", "no YAML"),
        ("kind: !!int ''\n", "no YAML"),
        ("kind: !!timestamp x\n", "no YAML"),
        ("kind: 2026-13-45\n", "no YAML"),
        ("kind: [ExportedServiceSet]\n", "holds no ExportedServiceSet"),
        ("kind: ExportedServiceSet\nmetadata: {name: red-mesh}\n", "metadata.namespace"),
        (
            "kind: ExportedServiceSet\nmetadata: {name: a, namespace: b}\nspec: {exportRules: [{type: Name}]}\n",
            "exportRules",
        ),
    ],
)
def test_a_file_that_cannot_be_previewed_says_why(tmp_path: Path, content: str, says: str) -> None:
    """Exit status 2, the file's name and the reason; the cluster is not asked."""
    file = tmp_path / "rules.yaml"
    file.write_text(content)
    result = CliRunner().invoke(app, ["preview", "-f", str(file)])
    assert result.exit_code == 2
    assert str(file) in result.stderr
    assert says in result.stderr
