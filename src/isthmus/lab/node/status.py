"""The status of a pod as a function of what its containers do (core/v1 PodStatus; "Pod Lifecycle")."""

from dataclasses import dataclass
from datetime import datetime

from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStatus,
    HostIP,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
)

from isthmus.lab.node.container import ContainerRecord

OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """All that the status is made of. ``known`` is the status as stored: foreign conditions and times are kept."""

    spec: PodSpec
    uid: str
    known: PodStatus
    init: dict[str, ContainerRecord]
    main: dict[str, ContainerRecord]
    address: str
    host: str
    began: datetime
    terminating: bool


def pod_status(facts: PodFacts, *, now: datetime) -> PodStatus:
    """What ``.status`` should say."""
    phase = pod_phase(facts)
    return PodStatus(
        phase=phase,
        conditions=_conditions(facts, phase, now=now),
        hostIP=facts.host,
        hostIPs=[HostIP(ip=facts.host)],
        podIP=facts.address or None,
        podIPs=[PodIP(ip=facts.address)] if facts.address else None,
        startTime=facts.known.startTime or facts.began,
        qosClass=facts.known.qosClass or "BestEffort",
        initContainerStatuses=_statuses(facts.uid, facts.spec.initContainers or [], facts.init) or None,
        containerStatuses=_statuses(facts.uid, facts.spec.containers, facts.main),
    )


def pod_phase(facts: PodFacts) -> str:
    """Pending until every container has run, Running while one does or will again, then Succeeded or Failed."""
    policy = facts.spec.restartPolicy or "Always"
    if any(_failed(r.state) for r in facts.init.values()) and policy == "Never":
        return "Failed"
    states = [record.state for record in facts.main.values()]
    if all(state.terminated is not None for state in states) and (policy != "Always" or facts.terminating):
        if not any(_failed(state) for state in states):
            return "Succeeded"
        if policy == "Never" or facts.terminating:
            return "Failed"
    begun = all(record.run > 0 for record in facts.main.values())
    return "Running" if begun else "Pending"


def _failed(state: ContainerState) -> bool:
    return state.terminated is not None and state.terminated.exitCode != 0


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running beside the main ones ("Sidecar Containers")."""
    return container.restartPolicy == "Always"


def initialized(facts: PodFacts) -> bool:
    """Whether every init container has completed, or has started if it is a sidecar."""
    done = []
    for container in facts.spec.initContainers or []:
        record = facts.init[container.name]
        terminated = record.state.terminated
        done.append(record.started if is_sidecar(container) else terminated is not None and terminated.exitCode == 0)
    return all(done)


def _conditions(facts: PodFacts, phase: str, *, now: datetime) -> list[PodCondition]:
    finished = phase in ("Succeeded", "Failed")
    ready = not finished and all(record.ready for record in facts.main.values())
    foreign = [c for c in facts.known.conditions or [] if c.type not in OURS]
    gates = [gate.conditionType for gate in facts.spec.readinessGates or []]
    open_gates = {c.type for c in foreign if c.status == "True"}
    unready = [name for name, record in facts.main.items() if not record.ready]
    closed = [gate for gate in gates if gate not in open_gates]
    reason = (
        ("PodCompleted", None) if finished else ("ContainersNotReady", f"containers with unready status: {unready}")
    )
    gate_reason = ("ReadinessGatesNotReady", f"conditions that are not True: {closed}") if ready and closed else reason
    own = [
        _condition("PodReadyToStartContainers", met=bool(facts.address), why=(None, None)),
        _condition("Initialized", met=initialized(facts), why=("ContainersNotInitialized", None)),
        _condition("Ready", met=ready and not closed, why=gate_reason),
        _condition("ContainersReady", met=ready, why=reason),
        _condition("PodScheduled", met=True, why=(None, None)),
    ]
    return [_dated(condition, facts.known.conditions or [], now=now) for condition in own] + foreign


def _condition(kind: str, *, met: bool, why: tuple[str | None, str | None]) -> PodCondition:
    reason, message = (None, None) if met else why
    return PodCondition(type=kind, status="True" if met else "False", reason=reason, message=message)


def _dated(condition: PodCondition, known: list[PodCondition], *, now: datetime) -> PodCondition:
    before = next((c for c in known if c.type == condition.type), None)
    same = before is not None and before.status == condition.status
    condition.lastTransitionTime = before.lastTransitionTime if same and before is not None else now
    return condition


def _statuses(uid: str, containers: list[Container], records: dict[str, ContainerRecord]) -> list[ContainerStatus]:
    return [_status(uid, container, records[container.name]) for container in containers]


def _status(uid: str, container: Container, record: ContainerRecord) -> ContainerStatus:
    return ContainerStatus(
        name=container.name,
        image=container.image or "",
        imageID="",
        ready=record.ready,
        started=record.started,
        restartCount=record.restarts,
        state=record.state,
        lastState=record.last or ContainerState(),
        containerID=f"process://{uid}/{container.name}/{record.run}" if record.run else None,
    )
