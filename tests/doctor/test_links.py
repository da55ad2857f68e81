"""How links fare, read from resources of every kind of state."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import yaml

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.doctor.links import Layout, LinkLine, Resources, as_object, link_lines, table
from isthmus.doctor.links.lines import MOST_SAID
from isthmus.doctor.links.report import age

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
PEER = """
metadata: {name: green-mesh, namespace: red-mesh-system}
spec:
  remote: {addresses: [green.example]}
  gateways: {ingress: {name: ingress}, egress: {name: egress}}
  security: {trustDomain: green-mesh.local, clientID: green-mesh.local/ns/a/sa/b}
"""
SETS = """
metadata: {name: green-mesh, namespace: red-mesh-system}
spec: {}
status:
  exportedServices: [{localService: {name: a, namespace: b, hostname: a.b}, exportedName: a.b.svc}]
  importedServices:
  - {localService: {name: a, namespace: b, hostname: a.b}, exportedName: a}
  - {localService: {}, exportedName: b}
"""
COUNTS = "  exported: 9000\n  imported: 9001\n  offered: 9002\n"
MESH = "metadata: {name: red-mesh, namespace: red-mesh-system}"
UP = {
    "pod": "istiod-0",
    "watch": {"connected": True, "lastFullSync": "2026-11-25T11:59:20Z"},
    "remotes": [{"source": "10.0.0.1", "connected": True}],
}
DOWN = {"pod": "istiod-0", "watch": {"connected": False, "lastDisconnectStatus": "503 Service Unavailable"}}


def lines(status: dict[str, Any] | None = None, *, sets: str = "", peers: bool = True) -> tuple[LinkLine, ...]:
    """The lines of a cluster with one mesh and, if ``peers``, one peer."""
    peer = msgspec.convert({**yaml.safe_load(PEER), "status": status or {}}, ServiceMeshPeer)
    return link_lines(
        Resources(
            context="red",
            meshes=[msgspec.convert(yaml.safe_load(MESH), ServiceMeshControlPlane)],
            peers=[peer] if peers else [],
            exports=[msgspec.convert(yaml.safe_load(sets), ExportedServiceSet)] if sets else [],
            imports=[msgspec.convert(yaml.safe_load(sets), ImportedServiceSet)] if sets else [],
        )
    )


@pytest.mark.parametrize(("counts", "expected"), [(COUNTS, (9000, 9002, 9001)), ("", (1, 2, 1))])
def test_services_are_counted_whether_or_not_they_are_listed(counts: str, expected: tuple[int, int, int]) -> None:
    """A long list is cut, and its counts are of all; a mesh of another make lists all, and has no counts."""
    (line,) = lines(sets=SETS + counts)
    assert (line.exports, line.offered, line.imports) == expected


def ready(status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}]}


def test_a_link_that_stands() -> None:
    """Both directions, what is shared, and when the list last came."""
    (line,) = lines({"discoveryStatus": {"active": [UP]}, **ready("True", "Ready", "All well.")}, sets=SETS)
    assert (line.mesh, line.peer, line.link, line.is_ready) == ("red-mesh", "green-mesh", "both ways", True)
    assert (line.exports, line.offered, line.imports, line.pods) == (1, 2, 1, 1)
    assert age(line.last_sync, NOW) == "40s"


@pytest.mark.parametrize(
    ("status", "link", "is_ready", "reason", "why"),
    [
        (
            {"discoveryStatus": {"inactive": [DOWN]}, **ready("False", "PeerControlPlaneDown", "Long.")},
            "down",
            False,
            "PeerControlPlaneDown",
            "The peer's ingress gateway lets us in, and cannot reach the peer's control plane (503)",
        ),
        ({"discoveryStatus": {"inactive": [DOWN]}}, "down", None, "Disconnected", "503 Service Unavailable"),
        (
            {"discoveryStatus": {"active": [{**UP, "remotes": []}]}, **ready("False", "Unheard", "What it says.")},
            "to the peer",
            False,
            "Unheard",
            "What it says.",
        ),
        ({"discoveryStatus": {"inactive": [{**UP, **DOWN}]}}, "from the peer", None, "Disconnected", "503"),
        (
            {"conditions": [{"type": "Accepted", "status": "False", "reason": "RootNotFound", "message": "No root."}]},
            "down",
            False,
            "RootNotFound",
            "The ConfigMap with the peer's root certificates does not exist",
        ),
        ({}, "down", None, "", "no control plane tells of it"),
    ],
)
def test_links_that_do_not(status: dict[str, Any], link: str, is_ready: bool | None, reason: str, why: str) -> None:
    """The direction that is missing, and the reason in words; as far as older control planes tell it."""
    (line,) = lines(status)
    assert (line.link, line.is_ready, line.reason) == (link, is_ready, reason)
    assert line.why.startswith(why)


def test_what_is_not_carried_out_of_a_set_is_told() -> None:
    """A link that stands and of which a service is left out says which; whatever else is wrong comes first."""
    problem = {"type": "Accepted", "status": "False", "reason": "NotWritten", "message": "importRules[0] " + "x " * 500}
    refused = f"{SETS}  conditions: {json.dumps([problem])}\n"
    (line,) = lines({"discoveryStatus": {"active": [UP]}, **ready("True", "Ready")}, sets=refused)
    assert (line.is_ready, line.reason) == (True, "NotWritten")
    assert as_object(line)["message"] == f"ExportedServiceSet: {problem['message']}"
    row = " ".join(table([line], Layout(has_header=False), now=NOW).split())
    assert "40s NotWritten ExportedServiceSet: importRules[0] x x" in row
    assert row.endswith("x …")
    assert len(line.why) <= MOST_SAID
    (line,) = lines(
        {"discoveryStatus": {"inactive": [DOWN]}, **ready("False", "Unheard", "What it says.")}, sets=refused
    )
    assert (line.is_ready, line.reason, line.why) == (False, "Unheard", "What it says.")


def test_a_mesh_without_peers() -> None:
    """It has a line of its own."""
    (line,) = lines(peers=False)
    assert (line.mesh, line.peer, line.why) == ("red-mesh", "", "it has no ServiceMeshPeer")


def test_the_table() -> None:
    """Columns under their titles; more of them where they are asked for."""
    (line,) = lines({"discoveryStatus": {"active": [UP]}, **ready("True", "Ready")}, sets=SETS)
    head, row = table([line], Layout(), now=NOW).splitlines()
    assert head.split() == ["MESH", "PEER", "LINK", "READY", "EXPORTS", "IMPORTS", "SYNCED", "REASON", "WHY"]
    assert " ".join(row.split()) == "red-mesh-system/red-mesh green-mesh both ways yes 1 1 of 2 40s Ready -"
    assert row.index("both ways") == head.index("LINK")
    wide = table([line], Layout(is_wide=True, has_contexts=True, has_header=False), now=NOW)
    assert wide.split()[0] == "red"
    assert "green.example" in wide
    assert as_object(line)["lastSync"] == "2026-11-25T11:59:20Z"


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=-3), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=3), "3m"),
        (timedelta(hours=5), "5h"),
        (timedelta(days=50), "50d"),
    ],
)
def test_ages(past: timedelta, shown: str) -> None:
    """In the largest unit of which there are two."""
    assert age(NOW - past, NOW) == shown
    assert age(None, NOW) == "never"
