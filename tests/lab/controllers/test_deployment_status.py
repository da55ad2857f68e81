"""What a Deployment's status says."""

from datetime import UTC, datetime, timedelta

from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStatus, ReplicaSetSpec, ReplicaSetStatus
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from isthmus.lab.controllers.deployment_status import deployment_status, progress_deadline

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=601)


def deployment(status: DeploymentStatus | None = None) -> Deployment:
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="shop", generation=2),
        spec=DeploymentSpec(replicas=2, selector=LabelSelector(), template=PodTemplateSpec()),
        status=status,
    )


def replica_set(name: str, replicas: int, available: int) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name=name, namespace="shop"),
        spec=ReplicaSetSpec(selector=LabelSelector(), replicas=replicas),
        status=ReplicaSetStatus(replicas=replicas, readyReplicas=available, availableReplicas=available),
    )


def conditions(status: DeploymentStatus) -> dict[str, tuple[str | None, str | None]]:
    return {condition.type or "": (condition.status, condition.reason) for condition in status.conditions or []}


def test_a_rollout_under_way() -> None:
    """While pods are moved the counts are of all ReplicaSets, and Progressing says so."""
    new, old = replica_set("new", 1, 0), replica_set("old", 2, 2)
    status = deployment_status(deployment(), new=new, owned=[new, old], now=NOW)
    assert (status.replicas, status.updatedReplicas, status.availableReplicas, status.unavailableReplicas) == (
        3,
        1,
        2,
        1,
    )
    assert status.observedGeneration == 2
    assert conditions(status) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }


def test_a_rollout_that_is_complete() -> None:
    """It is complete when all wished pods are of the new set and available, and no other is left."""
    new, old = replica_set("new", 2, 2), replica_set("old", 0, 0)
    status = deployment_status(deployment(), new=new, owned=[new, old], now=NOW)
    assert conditions(status)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert status.unavailableReplicas is None
    assert progress_deadline(status, now=NOW, limit_s=600) is None


def test_a_rollout_that_does_not_move_is_late() -> None:
    """Without a change for progressDeadlineSeconds the Deployment says that it is stuck."""
    new = replica_set("new", 2, 0)
    first = deployment_status(deployment(), new=new, owned=[new], now=NOW)
    assert conditions(first) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }
    assert progress_deadline(first, now=NOW, limit_s=600) == 601
    late = deployment_status(deployment(first), new=new, owned=[new], now=LATER)
    assert conditions(late)["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_nothing_new_changes_nothing() -> None:
    """The same world gives the same status, times included, so that it is written once."""
    new = replica_set("new", 2, 2)
    first = deployment_status(deployment(), new=new, owned=[new], now=NOW)
    assert deployment_status(deployment(first), new=new, owned=[new], now=LATER) == first
