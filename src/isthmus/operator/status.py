"""What to tell the administrator about a mesh: which components are ready, and what is wrong. Pure."""

from collections.abc import Sequence
from datetime import datetime

from lightkube.resources.apps_v1 import Deployment

from isthmus.api import Condition, ServiceMeshControlPlane
from isthmus.api.controlplane import Components, ControlPlaneStatus, Readiness
from isthmus.api.meta import condition
from isthmus.kube import key_of, metadata_of

READY_COUNT = "readyComponentCount"
"""Annotation of the status with "<ready>/<all>", for the column of ``kubectl get``."""


def is_ready(deployment: Deployment) -> bool:
    """Say whether all pods of a Deployment are of its latest template and available."""
    status, replicas = deployment.status, deployment.spec.replicas
    wanted = 1 if replicas is None else replicas
    if status is None or (status.observedGeneration or 0) < (metadata_of(deployment).generation or 0):
        return False
    return (status.updatedReplicas or 0) >= wanted and (status.availableReplicas or 0) >= wanted


def status_of(
    control_plane: ServiceMeshControlPlane,
    *,
    wanted: Sequence[str],
    deployments: Sequence[Deployment],
    error: str,
    now: datetime,
) -> ControlPlaneStatus:
    """Make the status. wanted: the names of the mesh's Deployments; deployments: those that are there.

    error: why the mesh is not as the resource wants it, empty if it is. now: for conditions that change.
    """
    ready_names = {key_of(deployment).name for deployment in deployments if is_ready(deployment)}
    ready = tuple(sorted(name for name in wanted if name in ready_names))
    pending = tuple(sorted(name for name in wanted if name not in ready_names))
    generation = metadata_of(control_plane).generation
    before = control_plane.status.conditions if control_plane.status else ()
    conditions = (_reconciled(error), _ready(pending, error=error))
    return ControlPlaneStatus(
        annotations={READY_COUNT: f"{len(ready)}/{len(wanted)}"},
        readiness=Readiness(components=Components(ready=ready, pending=pending, unready=())),
        conditions=tuple(_dated(each, before=before, generation=generation, now=now) for each in conditions),
        observed_generation=generation,
    )


def _reconciled(error: str) -> Condition:
    if error:
        return Condition(type="Reconciled", status="False", reason="ReconcileError", message=error)
    return Condition(type="Reconciled", status="True", reason="Reconciled", message="Everything is as it should be")


def _ready(pending: Sequence[str], *, error: str) -> Condition:
    if error:
        return Condition(type="Ready", status="False", reason="ReconcileError", message=error)
    if pending:
        message = f"Waiting for {', '.join(pending)}"
        return Condition(type="Ready", status="False", reason="ComponentsNotReady", message=message)
    return Condition(type="Ready", status="True", reason="ComponentsReady", message="All components are ready")


def _dated(new: Condition, *, before: Sequence[Condition], generation: int | None, now: datetime) -> Condition:
    """Keep the time of the last transition unless the status changes; times have whole seconds."""
    old = condition(before, new.type)
    changed = old is None or old.status != new.status
    return Condition(
        type=new.type,
        status=new.status,
        reason=new.reason,
        message=new.message,
        last_transition_time=now.replace(microsecond=0) if old is None or changed else old.last_transition_time,
        observed_generation=generation,
    )
