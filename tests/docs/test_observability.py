"""docs/observability.md describes what is measured, all of it and nothing else."""

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from tests.docs.markdown import REPOSITORY

from isthmus.envoy.access_format import OPERATORS
from isthmus.logs import COMPONENTS
from isthmus.pilot.measured import MEASURED
from isthmus.pilot.metrics import Pushes

DOCUMENT = REPOSITORY / "docs" / "observability.md"
_ROW = re.compile(r"^\| (`.+?) \| (\w*) ?\| ([\w, ]*?) ?\| ", re.MULTILINE)
Described = dict[str, tuple[str, tuple[str, ...]]]


def described(title: str) -> Described:
    """Type and labels of each metric in the table of the section of that title."""
    section = DOCUMENT.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return {
        name: (kind, tuple(filter(None, labels.split(", "))))
        for names, kind, labels in _ROW.findall(section)
        for name in re.findall(r"`(\w+)`", names)
    }


def _measured() -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    for each in MEASURED:
        family = each.kind(each.name, each.meaning, labels=each.labels)
        yield each.name + ("_total" if family.type == "counter" else ""), (family.type, each.labels)


def _pushes() -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    registry = CollectorRegistry()
    pushes = Pushes(registry)
    pushes.pushed("egress", "x")
    pushes.settled("egress", "x", seconds=1, is_rejected=True)
    for family in registry.collect():
        labels = tuple(name for name in family.samples[0].labels if name != "le")
        yield family.name + ("_total" if family.type == "counter" else ""), (family.type, labels)


def test_every_metric_of_the_control_plane_is_described() -> None:
    """Name, type and labels in the table are those in the code; no metric is left out, none made up."""
    told = described("Metrics of the control plane")
    process = {sample.name for family in ProcessCollector(registry=None).collect() for sample in family.samples}
    assert {name for name in told if name.startswith("process_")} == process
    ours: Described = {name: told[name] for name in told if not name.startswith("process_")}
    assert ours == dict([*_measured(), *_pushes()])


def test_every_operator_of_access_logs_is_described() -> None:
    """The operators that a format may use are those that the document lists, ours and Envoy's."""
    section = DOCUMENT.read_text().partition("\n## Access logs\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"`%?([A-Z][A-Z0-9_]+)%?`", section))
    assert told - {"TEXT"} == OPERATORS


def test_every_component_of_logs_is_described() -> None:
    """The components whose level may be set are those that the document lists."""
    told = re.search(r"The components of `general` are (.*?);", DOCUMENT.read_text())
    assert told is not None
    assert tuple(re.findall(r"`(\w+)`", told[1])) == COMPONENTS
