"""``isthmus crds``."""

import json

import yaml
from typer.testing import CliRunner

from isthmus.api.crds import crds
from isthmus.cli.app import app


def test_prints_yaml() -> None:
    """The default output is one YAML document for each kind, without anchors."""
    output = CliRunner().invoke(app, ["crds"]).output
    assert list(yaml.safe_load_all(output)) == crds()
    assert "&id" not in output


def test_prints_json() -> None:
    """``-o json`` prints one List."""
    output = CliRunner().invoke(app, ["crds", "-o", "json"]).output
    assert json.loads(output)["items"] == crds()
