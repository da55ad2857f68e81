"""Checks as text, as JSON and as JUnit XML. Pure."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec

from isthmus.api.check import CheckStep, PeerView
from isthmus.doctor.checking.checked import Checked
from isthmus.doctor.printable import printable

MARKS: Final = {"passed": "✔", "failed": "✘", "skipped": "–"}  # noqa: RUF001  (no minus: a dash)
EXITS: Final = {"passed": 0, "failed": 1, "unproved": 3}
_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUMMARIES: Final = {
    "passed": "the link holds, from end to end",
    "failed": "the link does not hold",
    "unproved": "nothing failed, but not everything could be proved",
}


def exit_code(checked: Sequence[Checked]) -> int:
    """1 if anything failed, 3 if anything is unproved, else 0."""
    verdicts = {each.verdict for each in checked}
    return next(EXITS[each] for each in ("failed", "unproved", "passed") if each in verdicts)


def as_text(checked: Sequence[Checked]) -> str:
    """For people: a line for each step, and under one that failed what to do."""
    return "\n\n".join("\n".join(map(printable, _lines(each))) for each in checked)


def as_json(checked: Sequence[Checked]) -> str:
    """For programs: a list with an object for each link."""
    return json.dumps([_object(each) for each in checked], indent=2, ensure_ascii=False)


def as_junit(checked: Sequence[Checked]) -> str:
    """For continuous integration: a suite for each link, a case for each step."""
    root = Element("testsuites", name="isthmus check")
    for each in checked:
        _suite(root, each)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


def _lines(checked: Checked) -> Iterator[str]:
    yield f"{_where(checked)}: {_SUMMARIES[checked.verdict]}"
    width = max(len(step.name) for step in checked.steps)
    for step in checked.steps:
        said = "; ".join(part for part in (step.figure, _said(step)) if part)
        yield f"  {MARKS[step.result]} {step.name:<{width}}  {said}".rstrip()
        if step.result == "failed" and step.action:
            yield f"    {'':<{width}}  to be mended {step.side}: {step.action} ({step.page})"
    if checked.check is not None and checked.check.peer_view is not None:
        yield f"  the peer's view: {_view(checked.check.peer_view)}"


def _said(step: CheckStep) -> str:
    return f"{step.cause}: {step.message}" if step.cause else step.message


def _view(view: PeerView) -> str:
    parts = [
        f"we are {view.peer} there",
        f"expected as {view.client_id}" if view.client_id else "",
        f"watching from {', '.join(view.sources)}" if view.sources else "not watching",
        f"it exports {view.exports} to us",
        f"knows {view.knows} and imports {view.imports} of ours" if view.knows is not None else "",
        f"its own watch fails: {view.last_error}" if view.last_error else "",
    ]
    return ", ".join(part for part in parts if part)


def _where(checked: Checked) -> str:
    return f"{checked.namespace}/{checked.peer}"


def _object(checked: Checked) -> dict[str, Any]:
    answered: dict[str, Any] = {} if checked.check is None else msgspec.to_builtins(checked.check)
    return {
        "namespace": checked.namespace,
        "peer": checked.peer,
        "result": checked.verdict,
        **{key: answered[key] for key in ("time", "pod", "peerView") if key in answered},
        "steps": [msgspec.to_builtins(step) for step in checked.steps],
    }


def _suite(root: Element, checked: Checked) -> None:
    count = {result: str(sum(step.result == result for step in checked.steps)) for result in MARKS}
    suite = SubElement(
        root,
        "testsuite",
        name=_where(checked),
        tests=str(len(checked.steps)),
        failures=count["failed"],
        skipped=count["skipped"],
        errors="0",
    )
    if checked.check is not None:
        suite.set("timestamp", checked.check.time.strftime("%Y-%m-%dT%H:%M:%S"))
    for step in checked.steps:
        _case(suite, step, f"isthmus.check.{checked.namespace}.{checked.peer}")


def _case(suite: Element, step: CheckStep, classname: str) -> None:
    case = SubElement(suite, "testcase", name=step.name, classname=classname)
    if step.result == "failed":
        told = f"To be mended {step.side}: {step.action} See {step.page}." if step.action else ""
        SubElement(case, "failure", type=step.cause, message=_text(step.message)).text = _text(told)
    elif step.result == "skipped":
        SubElement(case, "skipped", message=_text(step.message))
    if step.figure:
        SubElement(case, "system-out").text = _text(step.figure)


def _text(text: str) -> str:
    """Without the characters that XML 1.0 does not allow (§2.2)."""
    return _NOT_XML.sub("", text)
