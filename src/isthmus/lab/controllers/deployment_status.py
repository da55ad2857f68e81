"""The status of a Deployment as a function of its ReplicaSets (apps/v1 DeploymentStatus)."""

from datetime import datetime

from lightkube.models.apps_v1 import DeploymentCondition, DeploymentStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from isthmus.lab.client import key_of, metadata_of
from isthmus.lab.controllers.rollout import bounds

PROGRESS_DEADLINE_S = 600
COMPLETE = "NewReplicaSetAvailable"
LATE = "ProgressDeadlineExceeded"


def deployment_status(
    deployment: Deployment, *, new: ReplicaSet | None, owned: list[ReplicaSet], now: datetime
) -> DeploymentStatus:
    """What ``.status`` should say; counts of zero are left out, as the real controller leaves them out."""
    old = deployment.status or DeploymentStatus()
    replicas, available = _sum(owned, "replicas"), _sum(owned, "availableReplicas")
    updated = _sum([new] if new is not None else [], "replicas")
    wished = _wished(deployment)
    status = DeploymentStatus(
        observedGeneration=metadata_of(deployment).generation,
        replicas=replicas or None,
        updatedReplicas=updated or None,
        readyReplicas=_sum(owned, "readyReplicas") or None,
        availableReplicas=available or None,
        unavailableReplicas=max(0, max(wished, replicas) - available) or None,
        collisionCount=old.collisionCount,
    )
    complete = updated == replicas == available == wished and _new_available(new) == wished
    conditions = [
        _available(deployment, available, now=now),
        _progressing(deployment, new, status=status, complete=complete, now=now),
    ]
    status.conditions = [_keep_times(condition, old.conditions or []) for condition in conditions]
    return status


def progress_deadline(status: DeploymentStatus, *, now: datetime, limit_s: int) -> float | None:
    """Seconds until the progress deadline must be looked at again, None if nothing is under way."""
    progressing = next((c for c in status.conditions or [] if c.type == "Progressing"), None)
    if progressing is None or progressing.reason in (COMPLETE, LATE) or progressing.lastUpdateTime is None:
        return None
    return max(1.0, limit_s - (now - progressing.lastUpdateTime).total_seconds() + 1)


def _wished(deployment: Deployment) -> int:
    replicas = deployment.spec.replicas
    return 1 if replicas is None else replicas


def _sum(sets: list[ReplicaSet], field: str) -> int:
    return sum(getattr(s.status, field) or 0 for s in sets if s.status is not None)


def _new_available(new: ReplicaSet | None) -> int:
    return _sum([new] if new is not None else [], "availableReplicas")


def _available(deployment: Deployment, available: int, *, now: datetime) -> DeploymentCondition:
    strategy = deployment.spec.strategy
    wished = _wished(deployment)
    enough = available >= wished - bounds(strategy.rollingUpdate if strategy else None, wished).unavailable
    return DeploymentCondition(
        type="Available",
        status="True" if enough else "False",
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        lastUpdateTime=now,
        lastTransitionTime=now,
    )


def _progressing(
    deployment: Deployment, new: ReplicaSet | None, *, status: DeploymentStatus, complete: bool, now: datetime
) -> DeploymentCondition:
    name = key_of(new).name if new is not None else ""
    known = next((c for c in (deployment.status or status).conditions or [] if c.type == "Progressing"), None)
    if complete:
        reason, message = COMPLETE, f'ReplicaSet "{name}" has successfully progressed.'
    elif known is not None and not _moved(deployment.status, status) and _late(deployment, known, now=now):
        reason, message = LATE, f'ReplicaSet "{name}" has timed out progressing.'
    else:
        reason, message = "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
    moved = known is None or _moved(deployment.status, status) or known.reason != reason
    return DeploymentCondition(
        type="Progressing",
        status="False" if reason == LATE else "True",
        reason=reason,
        message=message,
        lastUpdateTime=now if moved or known is None else known.lastUpdateTime,
        lastTransitionTime=now,
    )


def _moved(before: DeploymentStatus | None, after: DeploymentStatus) -> bool:
    if before is None or before.observedGeneration != after.observedGeneration:
        return True
    fields = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return any(getattr(before, field) != getattr(after, field) for field in fields)


def _late(deployment: Deployment, known: DeploymentCondition, *, now: datetime) -> bool:
    limit_s = deployment.spec.progressDeadlineSeconds
    since = known.lastUpdateTime or now
    return (now - since).total_seconds() > (PROGRESS_DEADLINE_S if limit_s is None else limit_s)


def _keep_times(condition: DeploymentCondition, known: list[DeploymentCondition]) -> DeploymentCondition:
    """Times move only when what they date moves, so that an unchanged status is written once."""
    before = next((c for c in known if c.type == condition.type), None)
    if before is None:
        return condition
    if before.status == condition.status:
        condition.lastTransitionTime = before.lastTransitionTime
        if before.reason == condition.reason and condition.type == "Available":
            condition.lastUpdateTime = before.lastUpdateTime
    return condition
