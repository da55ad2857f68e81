"""Which logs concern a peer, which of their lines, in which order, and how they are shown."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.doctor.peer_logs.entries import Entry, concerns, parse_line, parse_time
from isthmus.doctor.peer_logs.following import Wish
from isthmus.doctor.peer_logs.order import Order
from isthmus.doctor.peer_logs.sources import Cluster, LogsError, Source, sources
from isthmus.doctor.peer_logs.text import as_json, as_text, duration
from isthmus.doctor.printable import printable


def plane(name: str, *, domain: str = "") -> dict[str, Any]:
    trust = {"trust": {"domain": domain}} if domain else {}
    return {"metadata": {"name": name, "namespace": f"{name}-system"}, "spec": {"security": trust}}


def peer(owner: str, name: str, client: str, suffix: str = "") -> dict[str, Any]:
    gateways = {role: {"name": f"{role}-{name}{suffix}"} for role in ("ingress", "egress")}
    spec = {"gateways": gateways, "security": {"clientID": client}}
    return {"metadata": {"name": name, "namespace": f"{owner}-system"}, "spec": spec}


RED = Cluster(
    context="r",
    control_planes=[plane("red", domain="red.local")],
    peers=[peer("red", "verde", "green.local/ns/green-system/sa/x"), peer("red", "blue", "blue.local/ns/a/sa/x")],
)
GREEN = Cluster(
    context="g",
    control_planes=[plane("green", domain="green.local")],
    peers=[peer("green", "rojo", "red.local/ns/red-system/sa/y")],
)


def test_both_sides_have_three_logs_each() -> None:
    """The peer's mesh is told by its identity, whatever the two sides call each other."""
    found = sources([RED, GREEN], "verde")
    assert [(each.context, each.mesh, each.component, each.peer) for each in found] == [
        ("r", "red", "istiod", "verde"),
        ("r", "red", "egress-verde", "verde"),
        ("r", "red", "ingress-verde", "verde"),
        ("g", "green", "istiod", "rojo"),
        ("g", "green", "egress-rojo", "rojo"),
        ("g", "green", "ingress-rojo", "rojo"),
    ]
    assert [each.labels for each in found[:2]] == ["app=istiod,istio.io/rev=red", "app=egress-verde"]
    assert sources([GREEN, RED], "verde")[0].mesh == "red"


def test_a_side_that_cannot_be_reached_is_left_out() -> None:
    """Without its context, and where it does not know us, there are our logs only."""
    assert {each.mesh for each in sources([RED], "verde")} == {"red"}
    stranger = Cluster(context="g", control_planes=GREEN.control_planes, peers=[])
    assert {each.mesh for each in sources([RED, stranger], "verde")} == {"red"}
    assert {each.mesh for each in sources([RED, GREEN], "blue")} == {"red"}


def test_two_meshes_of_one_cluster_are_two_sides() -> None:
    """One context has both."""
    both = Cluster(
        context=None,
        control_planes=[*RED.control_planes, *GREEN.control_planes],
        peers=[*RED.peers, *GREEN.peers],
    )
    assert {each.mesh for each in sources([both], "verde")} == {"red", "green"}


def test_a_peer_must_be_one() -> None:
    """None or several of that name are an error that lists them; a namespace decides."""
    with pytest.raises(
        LogsError, match=r"no ServiceMeshPeer gren in context r and context g: there are green-system/ro"
    ):
        sources([RED, GREEN], "gren")
    several = Cluster(
        context=None,
        control_planes=[plane("red"), plane("green")],
        peers=[peer("red", "blue", "x"), peer("green", "blue", "y")],
    )
    with pytest.raises(LogsError, match=r"the current context has ServiceMeshPeers blue in red-system, green-system"):
        sources([several], "blue")
    assert sources([several], "blue", namespace="green-system")[0].mesh == "green"
    with pytest.raises(LogsError, match="there are none"):
        sources([Cluster(context=None, control_planes=[], peers=[])], "blue")


ISTIOD = Source(
    context=None,
    mesh="red",
    component="istiod",
    namespace="red-system",
    labels="",
    peer="green",
    gateways=("egress-green", "ingress-green"),
)
GATEWAY = Source(context=None, mesh="red", component="egress-green", namespace="n", labels="", peer="green")
NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def entry(text: str, source: Source = ISTIOD, *, time: datetime = NOW) -> Entry:
    found = parse_line(f"{time.isoformat()} {text}".encode(), source=source, pod="p")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-05-01T12:30:00Z", NOW),
        ("2026-05-01T12:30:00.123456789Z", NOW.replace(microsecond=123456)),
        ("2026-05-01T14:30:00.5+02:00", NOW.replace(microsecond=500000)),
        ("2026-05-41T12:30:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("now", None),
        ("", None),
    ],
)
def test_times_are_read_as_nodes_write_them(stamp: str, expected: datetime | None) -> None:
    """To the microsecond; what is no time is told from what is."""
    assert parse_time(stamp) == expected


@given(st.binary(max_size=80))
def test_no_line_ends_in_a_traceback(line: bytes) -> None:
    """Whatever a container has written, before and after the time."""
    for each in (line, b"2026-05-01T12:30:00Z " + line, b"2026-05-01T12:30:00Z {" + line):
        found = parse_line(each, source=ISTIOD, pod="p")
        if found is not None:
            concerns(found)
            assert "\n" not in as_text(found, width=10, has_colour=True)
            json.loads(as_json(found))


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_a_line_of_brackets_is_a_text(deep: str) -> None:
    """A JSON parser gives up on it, and so do we."""
    assert not entry(deep).fields


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ('{"peer": "green", "event": "connected"}', ISTIOD, True),
        ('{"peer": "blue", "event": "connected to green"}', ISTIOD, False),
        ('{"event": "gateway connected", "gateway": "egress-green"}', ISTIOD, True),
        ('{"event": "gateway connected", "gateway": "egress-greens"}', ISTIOD, False),
        ('{"peer": "blue, green", "event": "gateway connected"}', ISTIOD, True),
        ('{"peer": "blue, greens", "event": "gateway connected"}', ISTIOD, False),
        ('{"event": "operator started"}', ISTIOD, False),
        ("a line without form about green", ISTIOD, True),
        ("a line without form", ISTIOD, False),
        ("", ISTIOD, False),
        ('{"peer": "green"}', GATEWAY, True),
        ('{"peer": "blue"}', GATEWAY, False),
        ('{"event": "certificate renewed"}', GATEWAY, True),
        ("[2026] [warning] envoy", GATEWAY, True),
    ],
)
def test_lines_that_concern_the_peer(text: str, source: Source, expected: bool) -> None:
    """A line that names a peer is about that one; a gateway's others are about all that it serves."""
    assert concerns(entry(text, source)) is expected


def test_a_line_says_where_it_is_from() -> None:
    """Time, mesh and component, and what is said, without what is said already."""
    line = entry(
        '{"timestamp": "x", "level": "info", "event": "peer connected", "peer": "green", "beat": 1.5, "no": ""}'
    )
    assert as_text(line, width=14, has_colour=False) == "12:30:00.000 red istiod     info peer connected beat=1.5"
    access = entry('{"kind": "connection", "direction": "outbound", "flags": "UF"}', GATEWAY)
    assert as_text(access, width=0, has_colour=True) == "12:30:00.000 red egress-green connection outbound flags=UF"
    error = entry('{"level": "error", "event": "x"}')
    assert as_text(error, width=0, has_colour=True) == "\x1b[31m12:30:00.000 red istiod error x\x1b[0m"
    assert json.loads(as_json(access))["fields"]["flags"] == "UF"
    assert json.loads(as_json(entry("plain")))["text"] == "plain"
    assert json.loads(as_json(entry("plain")))["time"] == "2026-05-01T12:30:00Z"


def test_a_log_cannot_move_the_cursor() -> None:
    """Control characters are escaped, letters of all languages are not."""
    assert printable("a\x1b[2Jb\r\x07é日\u202e") == r"a\x1b[2Jb\r\x07é日\u202e"
    sneaky = entry('{"event": "\\u001b[31mred\\n00:00:00 forged"}')
    assert as_text(sneaky, width=0, has_colour=False).endswith(r"\x1b[31mred\n00:00:00 forged")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172800)])
def test_durations(text: str, seconds: int) -> None:
    """In days, hours, minutes and seconds."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "-5s", "1.5h", "5 m", "9999999s"])
def test_what_is_no_duration(text: str) -> None:
    """The error says what one looks like."""
    with pytest.raises(ValueError, match="expected one such as 90s"):
        duration(text)


def test_a_wish_is_what_the_api_takes() -> None:
    """Whole seconds, and one at least."""
    assert Wish(since=timedelta(milliseconds=10), tail=5).params() == {"sinceSeconds": "1", "tailLines": "5"}
    assert Wish().params() == {}


LOGS = st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12), max_size=4)


@given(LOGS)
def test_entries_that_are_late_by_less_than_the_window_are_in_order(logs: list[list[tuple[int, int]]]) -> None:
    """Of several logs that each are in order, and arrive unevenly, everything comes out, once, and in order."""
    arrivals: list[tuple[float, Entry]] = []
    for log in logs:
        arrived = 0.0
        for tenths, late in sorted(log):
            arrived = max(arrived, tenths / 10 + late / 100)  # a log arrives in its order
            arrivals.append((arrived, entry("x", time=NOW + timedelta(seconds=tenths / 10))))
    order = Order(window_s=0.1)
    out: list[Entry] = []
    for now_s, each in sorted(arrivals, key=lambda pair: pair[0]):
        out += order.due(now_s=now_s - 1e-6)
        order.add(each, now_s=now_s)
    out += order.due(now_s=1_000)
    assert [each.time for each in out] == sorted(each.time for _, each in arrivals)


def test_a_flood_does_not_wait() -> None:
    """Beyond the limit the oldest go on at once; what is left comes in its time."""
    order = Order(window_s=60, most=3)
    for number in range(5):
        order.add(entry("x", time=NOW + timedelta(seconds=number)), now_s=0)
    assert [each.time.second for each in order.due(now_s=0)] == [0, 1]
    assert [each.time.second for each in order.due(now_s=60)] == [2, 3, 4]


def test_lines_of_one_time_stay_in_their_order() -> None:
    """As they arrived."""
    order = Order(window_s=0)
    for text in ("c", "a", "b"):
        order.add(entry(text), now_s=0)
    assert [each.text for each in order.due(now_s=1)] == ["c", "a", "b"]
