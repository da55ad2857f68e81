"""docs/conditions.md has every reason of the code, with what the code says of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.markdown import headings

from isthmus.federation.causes import CAUSES, PEER_CONDITIONS, Cause
from isthmus.federation.checks import CONDITIONS_PAGE, OWN_PAGE

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "conditions.md").read_text()
SOURCES = [
    path
    for room in ("federation", "operator", "pilot")
    for path in (REPOSITORY / "src" / "isthmus" / room).glob("*.py")
]
_REASON_AT = {"Problem": 1, "Hindrance": 0, "PeerConfigError": 0, "_Verdict": 1, "_fails": 0}
"""Which argument of what is called is a reason."""


@pytest.mark.parametrize("cause", CAUSES, ids=lambda each: each.reason)
def test_each_cause_has_its_row(cause: Cause) -> None:
    """The page explains a cause in the words of the condition's message, under its condition."""
    row = f"| `{cause.reason}` | {cause.side} | {cause.meaning} | {cause.action} |"
    section = PAGE.partition(f"### {cause.condition}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert row in section


def test_conditions_stand_in_the_order_in_which_one_needs_the_other() -> None:
    """The page follows a call on its way."""
    places = [PAGE.index(f"### {each}\n") for each in PEER_CONDITIONS]
    assert places == sorted(places)


@pytest.mark.parametrize("page", [OWN_PAGE, *(f"{CONDITIONS_PAGE}#{each.lower()}" for each in PEER_CONDITIONS)])
def test_what_a_check_leads_to_is_there(page: str) -> None:
    """The page that a failed step of a check names exists, with that heading."""
    path, _, anchor = page.partition("#")
    assert anchor in {heading.anchor for heading in headings(REPOSITORY / path)}


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _reasons(path: Path) -> Iterator[str]:
    """Reasons that stand literally in a module: as the argument of a call, or of the keyword ``reason``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        place = _REASON_AT.get(_called(node))
        found = [] if place is None else node.args[place : place + 1]
        if _called(node) == "Condition":
            found = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        yield from (each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _all_reasons() -> set[str]:
    return {cause.reason for cause in CAUSES} | {reason for path in SOURCES for reason in _reasons(path)}


def test_no_reason_is_missing() -> None:
    """Whatever reason the code can give is on the page."""
    reasons = _all_reasons()
    assert {"UnknownRoot", "NameTaken", "ComponentsReady", "RootNotFound", "Waiting"} <= reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in PAGE] == []


def test_every_reason_is_brought_about_somewhere() -> None:
    """Each reason that the code can give is the outcome of some test: none is there for decoration."""
    tests = REPOSITORY / "tests"
    said = " ".join(path.read_text() for path in tests.rglob("test_*.py") if path.parent.name != "docs")
    assert [reason for reason in sorted(_all_reasons()) if f'"{reason}"' not in said] == []
