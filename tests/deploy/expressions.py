"""What alerts and board ask Prometheus: each expression, parsed, with the metrics and labels that it needs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
BOARD = DEPLOY / "grafana" / "isthmus.json"
OF_SCRAPING = {"namespace", "pod"}
"""Labels that the scrape configuration in docs/observability.md gives each series."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric as an expression selects it: its name, and the labels that it must have."""

    name: str
    labels: frozenset[str]


def rules() -> list[dict[str, Any]]:
    """All alerting rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """All expressions of the board's panels, with Grafana's variables filled in."""
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$namespace", ".*").replace("$peer", ".*")


def expressions() -> list[str]:
    """Everything that is asked."""
    return [*(rule["expr"] for rule in rules()), *queries()]


def selectors(expression: str) -> set[Selector]:
    """The metrics in an expression; ValueError if it is no PromQL."""
    return set(_walk(promql_parser.parse(expression), frozenset()))


def _walk(node: Any, grouped: frozenset[str]) -> Iterator[Selector]:
    """``grouped``: the labels by which an aggregation around the node tells series apart."""
    match type(node).__name__:
        case "VectorSelector":
            matched = {matcher.name for matcher in node.matchers.matchers}
            yield Selector(node.name, frozenset(matched | grouped) - OF_SCRAPING)
        case "MatrixSelector":
            yield from _walk(node.vector_selector, grouped)
        case "AggregateExpr":
            yield from _walk(node.expr, frozenset(node.modifier.labels if node.modifier else ()))
        case "BinaryExpr":
            yield from _walk(node.lhs, grouped)
            yield from _walk(node.rhs, grouped)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from _walk(node.expr, grouped)
        case "Call":
            for argument in node.args:
                yield from _walk(argument, grouped)
        case "NumberLiteral" | "StringLiteral":
            return
        case other:
            raise AssertionError(f"an expression has a {other}, which this test does not know")


def in_legend(text: str) -> set[str]:
    """The labels that a text in Grafana or Prometheus shows."""
    return set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)) - {"value"}
