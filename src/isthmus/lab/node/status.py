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
        initContainerStatuses=_init_statuses(facts) or None,
        containerStatuses=_statuses(facts.uid, facts.spec.containers, facts.main),
    )


def pod_phase(facts: PodFacts) -> str:
    """Pending until every container has run, Running while one does or will again, then Succeeded or Failed."""
    policy = facts.spec.restartPolicy or "Always"
    inits = facts.spec.initContainers or []
    if policy == "Never" and any(_failed(facts.init[c.name].state) for c in inits if not is_sidecar(c)):
        return "Failed"
    beside = any(facts.init[c.name].state.running is not None for c in inits if is_sidecar(c))
    states = [record.state for record in facts.main.values()]
    if all(state.terminated is not None for state in states) and not beside:
        if (policy != "Always" or facts.terminating) and not any(_failed(state) for state in states):
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
    """Whether every init container has completed, or has started if it is a sidecar; for good once a main one ran."""
    return not uninitialized(facts) or any(record.run > 0 for record in facts.main.values())


def uninitialized(facts: PodFacts) -> list[str]:
    """The init containers that the main ones still wait for."""
    inits = facts.spec.initContainers or []
    return [c.name for c in inits if not (facts.init[c.name].started if is_sidecar(c) else _completed(facts, c))]


def _completed(facts: PodFacts, container: Container) -> bool:
    terminated = facts.init[container.name].state.terminated
    return terminated is not None and terminated.exitCode == 0


def _conditions(facts: PodFacts, phase: str, *, now: datetime) -> list[PodCondition]:
    finished = phase in ("Succeeded", "Failed")
    serving = facts.main | {c.name: facts.init[c.name] for c in facts.spec.initContainers or [] if is_sidecar(c)}
    unready = [name for name, record in serving.items() if not record.ready]
    ready = not finished and not unready
    foreign = [c for c in facts.known.conditions or [] if c.type not in OURS]
    open_gates = {c.type for c in foreign if c.status == "True"}
    gates = [gate.conditionType for gate in facts.spec.readinessGates or []]
    closed = [gate for gate in gates if gate not in open_gates]
    why = ("PodCompleted", None) if finished else ("ContainersNotReady", _listed("containers with unready", unready))
    gate_why = ("ReadinessGatesNotReady", _listed("readiness gates with closed", closed)) if ready and closed else why
    init_why = ("ContainersNotInitialized", _listed("containers with incomplete", uninitialized(facts)))
    own = [
        _condition("PodReadyToStartContainers", met=bool(facts.address), why=(None, None)),
        _condition("Initialized", met=initialized(facts), why=init_why),
        _condition("Ready", met=ready and not closed, why=gate_why),
        _condition("ContainersReady", met=ready, why=why),
        _condition("PodScheduled", met=True, why=(None, None)),
    ]
    return [_dated(condition, facts.known.conditions or [], now=now) for condition in own] + foreign


def _listed(what: str, names: list[str]) -> str:
    return f"{what} status: [{' '.join(names)}]"


def _condition(kind: str, *, met: bool, why: tuple[str | None, str | None]) -> PodCondition:
    reason, message = (None, None) if met else why
    return PodCondition(type=kind, status="True" if met else "False", reason=reason, message=message)


def _dated(condition: PodCondition, known: list[PodCondition], *, now: datetime) -> PodCondition:
    before = next((c for c in known if c.type == condition.type), None)
    same = before is not None and before.status == condition.status
    condition.lastTransitionTime = before.lastTransitionTime if same and before is not None else now
    return condition


def _init_statuses(facts: PodFacts) -> list[ContainerStatus]:
    """An init container that has completed is ready for ever."""
    containers = facts.spec.initContainers or []
    statuses = _statuses(facts.uid, containers, facts.init)
    for container, status in zip(containers, statuses, strict=True):
        if not is_sidecar(container):
            status.ready = _completed(facts, container)
    return statuses


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
