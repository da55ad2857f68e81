"""Alert rules and board fit the documents: each metric is described, each alert says what to do, each query parses."""

import json
import re

import pytest
from tests.deploy.expressions import BOARD, expressions, in_legend, rules, selectors
from tests.docs.markdown import REPOSITORY, headings
from tests.docs.test_observability import described

SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def described_metrics() -> dict[str, tuple[str, ...]]:
    """The labels of every metric in docs/observability.md."""
    told = described("Metrics of the control plane") | described("Metrics of gateways")
    return {name: labels for name, (_, labels) in told.items()}


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_what_is_described(expression: str) -> None:
    """Each expression parses; its metrics and their labels are in docs/observability.md."""
    known = described_metrics()
    found = selectors(expression)
    assert found
    for selector in found:
        name = selector.name if selector.name in known else SUFFIXES.sub("", selector.name)
        assert name in known, selector.name
        assert selector.labels - {"le"} <= set(known[name]), (name, selector.labels)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """Summary, description and severity are there; the runbook leads to a heading; only labels that exist are told."""
    annotations = rule["annotations"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(annotations) == {"summary", "description", "runbook"}
    path, _, anchor = annotations["runbook"].partition("#")
    assert anchor in {heading.anchor for heading in headings(REPOSITORY / path)}
    assert anchor == str(rule["alert"]).lower()
    shown = in_legend(annotations["summary"] + annotations["description"])
    grouped = set(re.findall(r"\w+", "".join(re.findall(r"by \(([^)]*)\)", str(rule["expr"])))))
    assert shown <= grouped


def test_every_condition_that_matters_has_an_alert() -> None:
    """A link down, stale imports, certificates, a refused configuration, doubts, no leader, an API away, errors."""
    assert {rule["alert"] for rule in rules()} >= {
        "IsthmusLinkDown",
        "IsthmusImportsStale",
        "IsthmusRootExpiresSoon",
        "IsthmusCertificateNotRenewed",
        "IsthmusConfigurationRejected",
        "IsthmusChecksumMismatch",
        "IsthmusNoLeader",
        "IsthmusApiStale",
        "IsthmusHighErrorRate",
    }


def test_the_board_is_one_that_grafana_lays_out() -> None:
    """Panels have an id each, a title, and a place of their own within 24 columns."""
    panels = json.loads(BOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        for target in panel.get("targets", ()):
            assert in_legend(target["legendFormat"]), target
