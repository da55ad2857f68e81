"""What is carried over from the stored status when the node starts a pod again after a restart of its own."""

from datetime import UTC, datetime

from lightkube.models.core_v1 import ContainerState, ContainerStateTerminated, ContainerStatus

from isthmus.lab.node.container import ContainerRecord, waiting

KILLED = 137


def first_record(known: ContainerStatus | None, *, fresh: str) -> ContainerRecord:
    """The record of a container that is about to be started.

    A container that was running when the node went away has ended with it: that counts as a restart. One that had
    ended before keeps what is known of its end. ``fresh`` is the reason why a container waits at first.
    """
    record = ContainerRecord(state=waiting(fresh))
    if known is None or known.state is None:
        return record
    record.run = _run(known.containerID)
    record.restarts, record.last = known.restartCount, known.lastState
    if (running := known.state.running) is not None:
        record.restarts += 1
        record.last = ContainerState(
            terminated=ContainerStateTerminated(
                exitCode=KILLED,
                reason="NodeRestart",
                message="The node went away while this container was running.",
                startedAt=running.startedAt,
                finishedAt=datetime.now(UTC).replace(microsecond=0),
            )
        )
    elif known.state.terminated is not None:
        record.restarts += 1
        record.last = known.state
    return record


def _run(container_id: str | None) -> int:
    number = (container_id or "").rpartition("/")[2]
    return int(number) if number.isdecimal() else 0
