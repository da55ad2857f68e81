"""The log of a process: what is written, where, and by which levels."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
import structlog

import isthmus
from isthmus.logs import COMPONENTS, Levels, configure


@pytest.fixture(autouse=True)
def _as_before() -> "object":
    yield
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """What was written to standard output since the last look; nothing may be on standard error."""
    written = capsys.readouterr()
    assert written.err == ""
    return [json.loads(line) for line in written.out.splitlines()]


def test_lines_are_json_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody watches, a line is an object with the event, its level, its time and its facts."""
    configure()
    structlog.get_logger("isthmus.pilot.link").info("remote connected", peer="green-mesh")
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"event": "remote connected", "level": "info", "peer": "green-mesh"}


def test_a_traceback_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception does not break a line in several."""
    configure()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        structlog.get_logger("isthmus.pilot.app").exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: two\nlines" in line["exception"]


class Terminal(io.StringIO):
    """What somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_a_traceback_on_a_terminal_shows_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local variables may hold secrets."""
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    configure()
    secret = "hunter" + str(1 + 1)
    try:
        raise ValueError("failed")
    except ValueError:
        structlog.get_logger("isthmus.pilot.app").exception("it failed")
    assert "ValueError" in terminal.getvalue()
    assert secret not in terminal.getvalue()


def test_levels_of_components_change_at_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger that exists already follows; what is not named follows the default, and without one the start."""
    levels = configure("warning")
    kube, pilot = structlog.get_logger("isthmus.kube.queue"), structlog.get_logger("isthmus.pilot.link")
    kube.info("one")
    assert levels.set({"kube": "debug"}) == ()
    kube.debug("two")
    pilot.info("three")
    levels.set({"default": "info", "kube": "off"})
    kube.error("four")
    pilot.info("five")
    levels.set({})
    pilot.info("six")
    pilot.warning("seven")
    assert [line["event"] for line in lines(capsys)] == ["two", "five", "seven"]


def test_unknown_components_and_levels_are_told() -> None:
    """A name that is no component has no effect and is told; a level that is none cannot be given at the start."""
    assert Levels().set({"misc": "error", "kube": "info", "ads": "debug"}) == ("ads", "misc")
    with pytest.raises(ValueError, match="unknown log level 'loud': expected one of trace, debug"):
        Levels("loud")


def test_every_logger_belongs_to_a_component() -> None:
    """Every module that writes logs is in a room that a level can be set for; the lab's own tools are apart."""
    package = Path(isthmus.__file__).parent
    rooms = {
        source.relative_to(package).parts[0]
        for source in package.rglob("*.py")
        if "structlog.get_logger(" in source.read_text()
    }
    assert rooms - {"lab"} == set(COMPONENTS)
    for source in package.rglob("*.py"):
        if source.relative_to(package).parts[0] != "lab":
            assert "structlog.get_logger()" not in source.read_text(), source
