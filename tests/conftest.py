"""What tests of every room share: golden files, and settings of Hypothesis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

# An example may take any time: how long depends on what else the machine does.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")

Golden = Callable[[str, Any], None]
"""``golden(name, value)``: the value must equal that of ``golden/<name>.yaml`` beside the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one flag that rewrites golden files."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a value of JSON types with a YAML file, structurally; several documents if the value is a list."""
    folder = request.path.parent / "golden"

    def compare(name: str, value: Any) -> None:
        documents = value if isinstance(value, list) else [value]
        path = folder / f"{name}.yaml"
        if request.config.getoption("--update-golden"):
            _write(path, documents)
        assert list(yaml.safe_load_all(path.read_text())) == documents

    return compare


def _write(path: Path, documents: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    ordered = [_headed(document) for document in documents]
    path.write_text(yaml.dump_all(ordered, Dumper=_Plain, sort_keys=False, width=120, explicit_start=True))


def _headed(document: Any) -> Any:
    """A Kubernetes object with what it is first, as people write it."""
    if not isinstance(document, dict):
        return document
    head = {name: document[name] for name in ("apiVersion", "kind", "metadata") if name in document}
    return {**head, **document}


class _Plain(yaml.SafeDumper):
    """YAML without anchors; texts of several lines as such."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Plain.add_representer(str, _Plain.represent_str)
