"""When a container that has ended is started again (Kubernetes documentation, "Pod Lifecycle", restart policy).

The delay begins at 0.2 s rather than 10 s and doubles to 10 s rather than 300 s: on one machine a person is waiting.
It begins anew after the container has run for 30 s.
"""

from lightkube.models.core_v1 import Container

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
FORGIVEN_AFTER_S = 30.0


def restarts(policy: str | None, *, exit_code: int) -> bool:
    """Whether a container that ended so is started again."""
    match policy or "Always":
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
        case _:
            return True


def init_policy(container: Container, pod_policy: str) -> str:
    """The policy of an init container: a sidecar always runs, any other until its success, or once."""
    if container.restartPolicy == "Always":
        return "Always"
    return "Never" if pod_policy == "Never" else "OnFailure"


class RestartDelay:
    """The growing delay between two starts of one container."""

    def __init__(self) -> None:
        self._next_s = FIRST_DELAY_S

    def after_run(self, ran_s: float) -> float:
        """How long to wait after a run of ``ran_s`` seconds."""
        delay_s = FIRST_DELAY_S if ran_s >= FORGIVEN_AFTER_S else self._next_s
        self._next_s = min(delay_s * 2, LONGEST_DELAY_S)
        return delay_s
