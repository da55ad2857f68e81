"""What is carried over from the stored status when the node starts a pod again after a restart of its own."""

from datetime import UTC, datetime

from lightkube.models.core_v1 import ContainerState, ContainerStateTerminated, ContainerStatus

from isthmus.lab.node.container import ContainerRecord, waiting
from isthmus.lab.node.restart import restarts

KILLED = 137


def first_record(known: ContainerStatus | None, *, fresh: str, policy: str) -> ContainerRecord:
    """The record of a container that is about to be started; one whose state is terminated is not started again.

    A container that was running when the node went away has ended with it. What ``policy`` starts again counts a
    restart and has its end as its last state; what it does not has ended for good. ``fresh`` is the reason why a
    container waits at first.
    """
    record = ContainerRecord(state=waiting(fresh))
    if known is None or known.state is None:
        return record
    record.run = _run(known.containerID)
    record.restarts, record.last = known.restartCount, known.lastState
    end = _end(known.state)
    if end is None:
        return record
    if restarts(policy, exit_code=end.exitCode):
        record.restarts += 1
        record.last = ContainerState(terminated=end)
    else:
        record.state = ContainerState(terminated=end)
    return record


def _end(state: ContainerState) -> ContainerStateTerminated | None:
    if state.running is None:
        return state.terminated
    return ContainerStateTerminated(
        exitCode=KILLED,
        reason="NodeRestart",
        message="The node went away while this container was running.",
        startedAt=state.running.startedAt,
        finishedAt=datetime.now(UTC).replace(microsecond=0),
    )


def _run(container_id: str | None) -> int:
    number = (container_id or "").rpartition("/")[2]
    return int(number) if number.isdecimal() else 0
