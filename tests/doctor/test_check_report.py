"""Checks as people, programs and continuous integration get them."""

import json
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from isthmus.api.check import Check, CheckStep, PeerView
from isthmus.doctor.checking import Checked, as_json, as_junit, as_text, exit_code
from isthmus.federation.checks import failed, passed, skipped

STEPS = (
    passed("dns", "10.0.0.1 is an address"),
    failed("tcp", "ConnectionRefused", "egress called 10.0.0.1:8188 <refused>\x00\uffff"),
    skipped("tls", "no address came so far"),
)
VIEW = PeerView(peer="red-mesh", client_id="spiffe://red/ns/a/sa/b", sources=("10.0.0.9",), exports=2, last_error="503")


def checked(*steps: CheckStep, view: PeerView | None = None) -> Checked:
    """What came of a check."""
    answer = Check(nonce="n", time=datetime(2026, 11, 25, tzinfo=UTC), pod="istiod-0", steps=steps, peer_view=view)
    return Checked(namespace="red-mesh-system", peer="green-mesh", steps=steps, check=answer)


def test_text() -> None:
    """A line for each step, what to do under one that failed, the peer's view; no control character gets out."""
    view = (
        "we are red-mesh there, expected as spiffe://red/ns/a/sa/b, watching from 10.0.0.9, it exports 2 to us, "
        "its own watch fails: 503"
    )
    assert as_text([checked(*STEPS, view=VIEW)]).splitlines() == [
        "red-mesh-system/green-mesh: the link does not hold",
        "  ✔ dns  10.0.0.1 is an address",
        "  ✘ tcp  ConnectionRefused: egress called 10.0.0.1:8188 <refused>\\x00\\uffff",
        f"         to be mended at the peer: {STEPS[1].action} (docs/conditions.md#reachable)",
        "  – tls  no address came so far",  # noqa: RUF001  (a dash)
        f"  the peer's view: {view}",
    ]


def test_json() -> None:
    """An object for each link, with the step's fields under their names in the resource."""
    (link,) = json.loads(as_json([checked(*STEPS, view=VIEW)]))
    assert (link["namespace"], link["peer"]) == ("red-mesh-system", "green-mesh")
    assert (link["result"], link["pod"], link["time"]) == ("failed", "istiod-0", "2026-11-25T00:00:00Z")
    assert link["peerView"]["clientID"] == "spiffe://red/ns/a/sa/b"
    assert [step["result"] for step in link["steps"]] == ["passed", "failed", "skipped"]
    assert {"name", "cause", "side", "message", "action", "page"} <= set(link["steps"][1])


def test_junit() -> None:
    """Well-formed XML with a case for each step, whatever characters a message has."""
    suite = ET.fromstring(as_junit([checked(*STEPS)])).find("testsuite")  # noqa: S314  (our own text)
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["dns", "tcp", "tls"]
    failure = cases[1].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == (
        "ConnectionRefused",
        "egress called 10.0.0.1:8188 <refused>",
    )


def test_exit_codes() -> None:
    """0 only if all passed; a failure counts more than a gap."""
    good, gap, bad = checked(STEPS[0]), checked(STEPS[0], STEPS[2]), checked(*STEPS)
    assert [exit_code(each) for each in ([good], [good, gap], [good, gap, bad])] == [0, 3, 1]
