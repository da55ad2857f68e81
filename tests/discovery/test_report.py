"""What is told of a link: every change to the listener, and to the log what is news."""

import structlog
from tests.discovery.test_client import Told

from isthmus.discovery import LinkError
from isthmus.discovery.report import LinkReport


def test_reasons_that_take_turns_do_not_fill_the_log() -> None:
    """Attempts that fail by turns at two gateway pods are two lines; the status has each, and each is counted."""
    told = Told()
    with structlog.testing.capture_logs() as lines:
        report = LinkReport("green-mesh", told)
        for reason in ("refused by a", "refused by a", "refused by b") * 10:
            report.failed(LinkError(reason))
        report.connected(15, None)
        report.failed(LinkError("refused by a"))
        report.failed(LinkError("refused by a"))
    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("peer unreachable", "refused by a"),
        ("peer unreachable", "refused by b"),
        ("peer connected", None),
        ("peer disconnected", "refused by a"),
    ]
    assert all(line["peer"] == "green-mesh" for line in lines)
    assert told.events.count("failed: refused by b") == 10
    assert (told.tally.failures, told.tally.connects) == (32, 1)
