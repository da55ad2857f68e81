"""The status of a pod."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    PodCondition,
    PodReadinessGate,
    PodSpec,
    PodStatus,
)

from isthmus.lab.node.container import ContainerRecord, waiting
from isthmus.lab.node.records import first_record
from isthmus.lab.node.status import PodFacts, pod_phase, pod_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def running(*, ready: bool = True) -> ContainerRecord:
    state = ContainerState(running=ContainerStateRunning(startedAt=NOW))
    return ContainerRecord(state=state, ready=ready, started=True, run=1)


def ended(code: int) -> ContainerRecord:
    return ContainerRecord(state=ContainerState(terminated=ContainerStateTerminated(exitCode=code)), run=1)


def fresh() -> ContainerRecord:
    return ContainerRecord(state=waiting("ContainerCreating"))


def backing_off() -> ContainerRecord:
    return ContainerRecord(state=waiting("CrashLoopBackOff"), run=3)


def facts(
    *main: ContainerRecord, init: tuple[ContainerRecord, ...] = (), policy: str = "Always", terminating: bool = False
) -> PodFacts:
    mains = {f"m{number}": record for number, record in enumerate(main)}
    inits = {f"i{number}": record for number, record in enumerate(init)}
    return PodFacts(
        spec=PodSpec(
            containers=[Container(name=name) for name in mains],
            initContainers=[Container(name=name) for name in inits],
            restartPolicy=policy,
        ),
        uid="uid",
        known=PodStatus(),
        init=inits,
        main=mains,
        address="127.17.0.2",
        host="127.16.0.1",
        began=NOW,
        terminating=terminating,
    )


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        (facts(fresh()), "Pending"),
        (facts(fresh(), init=(running(),)), "Pending"),
        (facts(fresh(), init=(ended(1),), policy="Never"), "Failed"),
        (facts(running(), fresh()), "Pending"),
        (facts(running(ready=False)), "Running"),
        (facts(backing_off()), "Running"),
        (facts(ended(1)), "Running"),
        (facts(ended(0), policy="OnFailure"), "Succeeded"),
        (facts(ended(1), policy="OnFailure"), "Running"),
        (facts(ended(0), ended(1), policy="Never"), "Failed"),
        (facts(ended(0), running(), policy="Never"), "Running"),
        (facts(ended(143), terminating=True), "Failed"),
        (facts(ended(0), terminating=True), "Succeeded"),
    ],
)
def test_phase(given: PodFacts, phase: str) -> None:
    """The phase follows from what the containers do and from the restart policy."""
    assert pod_phase(given) == phase


def conditions(status: PodStatus) -> dict[str, str]:
    return {condition.type: condition.status for condition in status.conditions or []}


def test_ready() -> None:
    """A pod is ready when all its containers are."""
    assert conditions(pod_status(facts(running(), running()), now=NOW))["Ready"] == "True"
    status = pod_status(facts(running(), running(ready=False)), now=NOW)
    assert conditions(status)["Ready"] == conditions(status)["ContainersReady"] == "False"
    assert [c.message for c in status.conditions or [] if c.type == "Ready"] == ["containers with unready status: [m1]"]


def test_readiness_gate() -> None:
    """A readiness gate keeps a pod from being ready until its condition, which someone else sets, is True."""
    gated = facts(running())
    gated.spec.readinessGates = [PodReadinessGate(conditionType="example.org/Gate")]
    closed = pod_status(gated, now=NOW)
    assert conditions(closed) == {**conditions(closed), "Ready": "False", "ContainersReady": "True"}
    known = PodStatus(conditions=[PodCondition(type="example.org/Gate", status="True")])
    opened = pod_status(replace(gated, known=known), now=NOW)
    assert conditions(opened) == {**conditions(opened), "Ready": "True", "example.org/Gate": "True"}


def test_times_move_only_with_what_they_date() -> None:
    """The same world gives the same status."""
    first = pod_status(facts(running()), now=NOW)
    assert pod_status(replace(facts(running()), known=first), now=LATER) == first
    changed = pod_status(replace(facts(running(ready=False)), known=first), now=LATER)
    times = {c.type: c.lastTransitionTime for c in changed.conditions or []}
    assert times == {**times, "Ready": LATER, "PodScheduled": NOW}


def known(state: ContainerState) -> ContainerStatus:
    return ContainerStatus(
        name="c", image="", imageID="", ready=True, restartCount=2, containerID="process://uid/c/3", state=state
    )


def test_a_container_that_ran_when_the_node_went_away() -> None:
    """Its end with the node is its last state and counts as a restart."""
    before = known(ContainerState(running=ContainerStateRunning(startedAt=NOW)))
    record = first_record(before, fresh="ContainerCreating", policy="OnFailure")
    assert (record.restarts, record.run, record.ready) == (3, 3, False)
    assert record.last is not None
    assert record.last.terminated is not None
    assert (record.last.terminated.exitCode, record.last.terminated.reason) == (137, "NodeRestart")
    assert record.state.waiting is not None


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Never", 0, False), ("Never", 1, False), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Always", 0, True)],
)
def test_what_had_ended_before_the_node_went_away(policy: str, code: int, *, again: bool) -> None:
    """It is started again only if its policy says so."""
    before = known(ContainerState(terminated=ContainerStateTerminated(exitCode=code)))
    record = first_record(before, fresh="ContainerCreating", policy=policy)
    assert (record.state.terminated is None, record.restarts) == (again, 3 if again else 2)


def beside(record: ContainerRecord, main: ContainerRecord, *, policy: str = "Never") -> PodFacts:
    """A pod with one sidecar."""
    found = facts(main, init=(record,), policy=policy)
    found.spec.initContainers = [Container(name="i0", restartPolicy="Always")]
    return found


@pytest.mark.parametrize(
    ("given", "phase", "ready"),
    [
        (beside(running(), running()), "Running", "True"),
        (beside(running(ready=False), running()), "Running", "False"),
        (beside(running(), ended(0)), "Running", "False"),
        (beside(ended(143), ended(0)), "Succeeded", "False"),
        (beside(ended(0), ended(1)), "Failed", "False"),
    ],
)
def test_sidecars(given: PodFacts, phase: str, ready: str) -> None:
    """A pod runs until its sidecars have ended too, they make it ready or not, and how they end does not matter."""
    status = pod_status(given, now=NOW)
    assert (status.phase, conditions(status)["Ready"]) == (phase, ready)


def test_what_init_containers_are_waited_for() -> None:
    """The condition Initialized names those that have not completed; one that has is ready."""
    status = pod_status(facts(fresh(), init=(ended(0), running())), now=NOW)
    assert [one.ready for one in status.initContainerStatuses or []] == [True, False]
    (condition,) = [one for one in status.conditions or [] if one.type == "Initialized"]
    assert (condition.status, condition.message) == ("False", "containers with incomplete status: [i1]")
