"""The probes of one running container: startup first, then liveness and readiness side by side."""

import asyncio
from typing import Protocol

from lightkube.models.core_v1 import Container, Lifecycle, Probe

from isthmus.lab.node.probes import Outcome, Target, ask, watch


class HealthListener(Protocol):
    """Who acts on what the probes find."""

    def has_started(self) -> None:
        """The startup probe has succeeded, or there is none."""

    def is_ready(self, *, ready: bool) -> None:
        """The readiness probe's verdict has changed."""

    def is_unhealthy(self, message: str) -> None:
        """The startup or liveness probe has failed: the container is to be started again."""


async def watch_health(container: Container, target: Target, listener: HealthListener) -> None:
    """Probe until cancelled (documentation of probes: the others wait for the startup probe)."""
    if container.startupProbe is not None:
        await _startup(container.startupProbe, target, listener)
    listener.has_started()

    def lives(verdict: bool, message: str) -> None:
        if not verdict:
            listener.is_unhealthy(f"Container {container.name} failed liveness probe, will be restarted: {message}")

    def ready(verdict: bool, _message: str) -> None:
        listener.is_ready(ready=verdict)

    async with asyncio.TaskGroup() as group:
        if container.livenessProbe is not None:
            liveness = watch(container.livenessProbe, target, kind="liveness", report=lives)
            group.create_task(liveness, name=f"liveness of {container.name}")
        if container.readinessProbe is not None:
            readiness = watch(container.readinessProbe, target, kind="readiness", report=ready)
            group.create_task(readiness, name=f"readiness of {container.name}")


async def _startup(probe: Probe, target: Target, listener: HealthListener) -> None:
    name = target.container.name
    succeeded = asyncio.Event()

    def report(verdict: bool, message: str) -> None:
        if verdict:
            succeeded.set()
        else:
            listener.is_unhealthy(f"Container {name} failed startup probe, will be restarted: {message}")

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(probe, target, kind="startup", report=report), name=f"startup of {name}")
        await succeeded.wait()
        watching.cancel()


async def before_stop(lifecycle: Lifecycle | None, target: Target, *, grace_s: float) -> Outcome:
    """Run the ``preStop`` hook, for the length of the grace at most ("Container Lifecycle Hooks")."""
    hook = lifecycle.preStop if lifecycle is not None else None
    if hook is None:
        return Outcome(success=True)
    if hook.sleep is not None:
        await asyncio.sleep(min(float(hook.sleep.seconds), grace_s))
        return Outcome(success=True)
    timeout_s = max(1, int(grace_s))
    return await ask(Probe(exec=hook.exec, httpGet=hook.httpGet, timeoutSeconds=timeout_s), target)
