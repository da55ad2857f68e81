"""Columns, ages, custom columns, discovery order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from isthmus.lab.apiserver.kinds.columns import POD, SERVICE, human_duration
from isthmus.lab.apiserver.kinds.printed import custom_columns
from isthmus.lab.apiserver.kinds.registry import version_rank

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ],
)
def test_durations_are_as_kubectl_writes_them(seconds: int, text: str) -> None:
    """Two units at most, coarser as time goes on."""
    assert human_duration(timedelta(seconds=seconds)) == text


def container(state: dict[str, Any], *, ready: bool = False, restarts: int = 0) -> dict[str, Any]:
    return {"name": "a", "ready": ready, "restartCount": restarts, "state": state}


@pytest.mark.parametrize(
    ("pod", "cells"),
    [
        ({"status": {"phase": "Pending"}}, ["0/1", "Pending", "0"]),
        (
            {"status": {"phase": "Running", "containerStatuses": [container({"running": {}}, ready=True)]}},
            ["1/1", "Running", "0"],
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [container({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=3)],
                }
            },
            ["0/1", "CrashLoopBackOff", "3"],
        ),
        (
            {"status": {"phase": "Failed", "containerStatuses": [container({"terminated": {"exitCode": 2}})]}},
            ["0/1", "ExitCode:2", "0"],
        ),
        (
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}},
            ["0/1", "Terminating", "0"],
        ),
    ],
)
def test_the_state_of_a_pod(pod: dict[str, Any], cells: list[str]) -> None:
    """READY, STATUS and RESTARTS tell what matters most."""
    pod = {"spec": {"containers": [{"name": "a"}]}, **pod}
    assert [column.cell(pod, NOW) for column in POD[1:4]] == cells


def test_an_odd_status_is_shown_as_far_as_it_goes() -> None:
    """What a status need not say (the names of containers, the types of conditions) may be missing."""
    spec = {
        "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}],
        "readinessGates": [{"conditionType": "x"}],
    }
    done = {"state": {"terminated": {"exitCode": 0}}}
    status = {
        "phase": "Running",
        "conditions": [{"status": "True"}],
        "initContainerStatuses": [done, {"name": "s", "ready": True}],
        "containerStatuses": [{"ready": True}],
    }
    cells = [column.cell({"spec": spec, "status": status}, NOW) for column in POD]
    assert cells[1:4] + cells[8:] == ["2/2", "Init:1/2", "0", "0/1"]
    status["initContainerStatuses"] = [{"ready": True}]
    assert POD[2].cell({"spec": spec, "status": status}, NOW) == "Init:0/2"


def test_the_columns_of_a_service() -> None:
    """A LoadBalancer shows its address, or that it waits for one."""
    spec = {"type": "LoadBalancer", "clusterIP": "127.96.0.9", "ports": [{"port": 80, "nodePort": 30000}]}
    cells = [column.cell({"spec": spec}, NOW) for column in SERVICE[1:5]]
    assert cells == ["LoadBalancer", "127.96.0.9", "<pending>", "80:30000/TCP"]
    status = {"loadBalancer": {"ingress": [{"ip": "127.100.0.1"}]}}
    assert SERVICE[3].cell({"spec": spec, "status": status}, NOW) == "127.100.0.1"


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        (".spec.a", "string", "x"),
        (".spec.missing", "string", None),
        (".spec.list[0].n", "string", "1"),
        (".spec.list[*].n", "string", "1,2"),
        ('.status.conditions[?(@.type=="Ready")].status', "string", "True"),
        (".metadata.annotations.example\\.com/x", "string", "y"),
        (".spec.number", "integer", 5),
        (".spec.a", "integer", None),
        (".metadata.creationTimestamp", "date", "60s"),
        (".spec[", "string", None),
    ],
)
def test_a_custom_column_finds_its_value(path: str, kind: str, expected: Any) -> None:
    """The JSONPath of a printer column leads to its value, or to nothing."""
    obj = {
        "metadata": {"creationTimestamp": "2025-12-31T23:59:00Z", "annotations": {"example.com/x": "y"}},
        "spec": {"a": "x", "number": 5, "list": [{"n": 1}, {"n": 2}]},
        "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
    }
    column = custom_columns([{"name": "C", "type": kind, "jsonPath": path}])[1]
    assert column.cell(obj, NOW) == expected


def test_versions_are_offered_in_the_order_of_preference() -> None:
    """Stable before beta before alpha, higher before lower."""
    versions = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v2", "v1beta2"]
    assert sorted(versions, key=version_rank) == ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]
