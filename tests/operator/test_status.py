"""What is told about a mesh."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from lightkube.resources.apps_v1 import Deployment
from tests.operator.meshes import documented

from isthmus.api import ServiceMeshControlPlane
from isthmus.api.controlplane import ControlPlaneStatus
from isthmus.api.meta import condition
from isthmus.operator.status import is_ready, status_of

NOW = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)


def deployment(name: str, *, generation: int = 2, **status: int) -> Deployment:
    """Return a Deployment with a status."""
    spec = {"replicas": 2, "selector": {}, "template": {}}
    metadata = {"name": name, "namespace": "red-mesh-system", "generation": generation}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Deployment)


READY = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (READY, True),
        ({}, False),
        ({**READY, "observedGeneration": 1}, False),
        ({**READY, "updatedReplicas": 1}, False),
        ({**READY, "availableReplicas": 1}, False),
    ],
)
def test_deployment_is_ready(status: dict[str, int], ready: bool) -> None:
    """A Deployment is ready once all of its newest pods are available."""
    assert is_ready(deployment("a", **status)) is ready


def told(resource: ServiceMeshControlPlane, **changes: Any) -> ControlPlaneStatus:
    """Return the status of a mesh of two Deployments, both ready."""
    arguments: dict[str, Any] = {
        "wanted": ["a", "b"],
        "deployments": [deployment("a", **READY), deployment("b", **READY)],
        "error": "",
        "now": NOW,
        **changes,
    }
    return status_of(resource, **arguments)


def test_all_ready() -> None:
    """A mesh whose components are all ready says so as administrators know it."""
    status = told(documented())
    ready = condition(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "ComponentsReady")
    assert ready.last_transition_time == NOW.replace(microsecond=0)
    assert status.annotations == {"readyComponentCount": "2/2"}
    assert status.observed_generation == 1


def test_pending_components_are_named() -> None:
    """A component that is not there, or not ready, is named."""
    status = told(documented(), deployments=[deployment("a", **READY)])
    ready = condition(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "ComponentsNotReady", "Waiting for b")
    assert status.readiness is not None
    assert (status.readiness.components.ready, status.readiness.components.pending) == (("a",), ("b",))


def test_error_is_told() -> None:
    """What keeps the mesh from being as it should is in the conditions."""
    status = told(documented(), error="cannot apply Service: no")
    for type_ in ("Reconciled", "Ready"):
        found = condition(status.conditions, type_)
        assert found is not None
        assert (found.status, found.reason, found.message) == ("False", "ReconcileError", "cannot apply Service: no")


def test_status_settles() -> None:
    """Telling the same again, later, gives the same status, so that nothing is written."""
    resource = documented()
    first = told(resource)
    read_back = msgspec.json.decode(msgspec.json.encode(first), type=ControlPlaneStatus)
    again = told(msgspec.structs.replace(resource, status=read_back), now=NOW + timedelta(hours=1))
    assert again == read_back == first


def test_transition_time_moves_with_the_status() -> None:
    """The time of a condition is that of its last change."""
    resource = documented()
    later = NOW + timedelta(hours=1)
    changed = told(msgspec.structs.replace(resource, status=told(resource)), deployments=[], now=later)
    ready, reconciled = condition(changed.conditions, "Ready"), condition(changed.conditions, "Reconciled")
    assert ready is not None
    assert reconciled is not None
    assert ready.last_transition_time == later.replace(microsecond=0)
    assert reconciled.last_transition_time == NOW.replace(microsecond=0)
