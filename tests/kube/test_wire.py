"""Lists and watches, decoded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node

from isthmus.api import ServiceMeshPeer
from isthmus.kube import ObjectKey
from isthmus.kube.errors import Expired, Unavailable
from isthmus.kube.wire import LONGEST_LINE, Decoded, Lines, Undecodable, Wire, collection_path


def event(type_: str, obj: dict[str, Any]) -> bytes:
    """Write one event of a watch."""
    return json.dumps({"type": type_, "object": obj}).encode()


@given(st.lists(st.text(alphabet="ab\r\v\f\x1c\x85\u2028é", min_size=1).filter(str.strip)), st.integers(1, 7))
def test_lines_are_cut_at_line_feeds_only(lines: list[str], size: int) -> None:
    """However the bytes arrive, the lines are those that were sent, whatever else they contain."""
    sent = [line.encode() for line in lines]
    stream = b"".join(line + b"\n" for line in sent)
    cutter = Lines()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [line for chunk in chunks for line in cutter.feed(chunk)] == [line for line in sent if line.strip()]


def test_endless_line_is_refused() -> None:
    """A line that does not end is not collected for ever."""
    lines = Lines()
    assert not list(lines.feed(b"x" * LONGEST_LINE))
    with pytest.raises(Unavailable, match="more than"):
        list(lines.feed(b"x"))


def test_bookmark_of_a_kind_with_required_fields() -> None:
    """A bookmark moves the version, although it has none of the fields that its kind requires."""
    bare = {"kind": "Deployment", "metadata": {"resourceVersion": "7"}, "spec": {"selector": None}}
    for kind in (Wire(Deployment), Wire(ServiceMeshPeer)):
        assert kind.event(event("BOOKMARK", bare), doing="watch").item.version == "7"


def test_error_event_is_raised() -> None:
    """410 inside a watch is the error that asks for a new list."""
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (2)"}
    with pytest.raises(Expired, match="too old"):
        Wire(ConfigMap).event(event("ERROR", status), doing="watch configmaps")


@pytest.mark.parametrize("line", [b"<html>", b"[]", b'{"type":"ADDED"}', b'{"type":"ADDED","object":{}}', b"\xff"])
def test_nonsense_is_unavailable(line: bytes) -> None:
    """What is not an event is a failure of the server, not of ours."""
    with pytest.raises(Unavailable):
        Wire(ConfigMap).event(line, doing="watch configmaps")
    with pytest.raises(Unavailable):
        Wire(ConfigMap).page(line)


def test_one_bad_object_does_not_hide_the_others() -> None:
    """An object that its kind does not allow is named, with the reason, among those that are fine."""
    spec = {
        "remote": {"addresses": ["a"]},
        "gateways": {"ingress": {"name": "i"}, "egress": {"name": "e"}},
        "security": {"trustDomain": "g", "clientID": "g/ns/a/sa/b"},
    }
    good = {"metadata": {"name": "good", "namespace": "red", "resourceVersion": "1"}, "spec": spec}
    bad = {"metadata": {"name": "bad", "namespace": "red", "resourceVersion": "2"}, "spec": {}}
    page = Wire(ServiceMeshPeer).page(json.dumps({"metadata": {"resourceVersion": "9"}, "items": [good, bad]}).encode())
    assert isinstance(page.items[0], Decoded)
    assert isinstance(page.items[1], Undecodable)
    assert page.items[1].key == ObjectKey("red", "bad")
    assert "remote" in page.items[1].why
    assert (page.version, page.next) == ("9", "")


def test_paths() -> None:
    """Collections are where the API conventions say they are."""
    assert collection_path(ConfigMap) == "/api/v1/configmaps"
    assert collection_path(ConfigMap, namespace="red") == "/api/v1/namespaces/red/configmaps"
    assert collection_path(Node) == "/api/v1/nodes"
    assert collection_path(ServiceMeshPeer).startswith("/apis/federation.maistra.io/v1/")
    with pytest.raises(ValueError, match="not in namespaces"):
        collection_path(Node, namespace="red")
