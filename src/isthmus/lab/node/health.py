"""The probes of one running container: startup first, then liveness and readiness side by side."""

import asyncio
from typing import Protocol

from lightkube.models.core_v1 import Container, Lifecycle, Probe

from isthmus.lab.node.probes import Kind, Outcome, Report, Target, ask, watch


class HealthListener(Protocol):
    """Who acts on what the probes find."""

    def has_started(self) -> None:
        """The startup probe has succeeded, or there is none."""

    def is_ready(self, *, ready: bool) -> None:
        """The readiness probe's verdict has changed."""

    def probe_failed(self, message: str) -> None:
        """A probe has failed, whatever follows from it."""

    def is_unhealthy(self, message: str, *, grace_s: float | None) -> None:
        """The startup or liveness probe has failed: the container is to be started again.

        ``grace_s`` is the probe's own grace, if it has one.
        """


async def watch_health(container: Container, target: Target, listener: HealthListener) -> None:
    """Probe until cancelled (documentation of probes: the others wait for the startup probe)."""
    if container.startupProbe is not None:
        await _startup(container.startupProbe, target, listener)
    listener.has_started()
    async with asyncio.TaskGroup() as group:
        if (liveness := container.livenessProbe) is not None:
            report = _vital(liveness, "liveness", container, listener)
            group.create_task(
                watch(liveness, target, kind="liveness", report=report), name=f"liveness of {container.name}"
            )
        if (readiness := container.readinessProbe) is not None:
            report = _readiness(listener)
            group.create_task(
                watch(readiness, target, kind="readiness", report=report), name=f"readiness of {container.name}"
            )


async def _startup(probe: Probe, target: Target, listener: HealthListener) -> None:
    succeeded = asyncio.Event()
    vital = _vital(probe, "startup", target.container, listener)

    def report(outcome: Outcome, verdict: bool | None) -> None:
        vital(outcome, verdict)
        if verdict:
            succeeded.set()

    async with asyncio.TaskGroup() as group:
        name = f"startup of {target.container.name}"
        watching = group.create_task(watch(probe, target, kind="startup", report=report), name=name)
        await succeeded.wait()
        watching.cancel()


def _vital(probe: Probe, kind: Kind, container: Container, listener: HealthListener) -> Report:
    """What follows from a probe that a container must pass to live on."""

    def report(outcome: Outcome, verdict: bool | None) -> None:
        if not outcome.success:
            listener.probe_failed(f"{kind.capitalize()} probe failed: {outcome.message}")
        if verdict is False:
            grace = probe.terminationGracePeriodSeconds
            message = f"Container {container.name} failed {kind} probe, will be restarted"
            listener.is_unhealthy(message, grace_s=None if grace is None else float(grace))

    return report


def _readiness(listener: HealthListener) -> Report:
    def report(outcome: Outcome, verdict: bool | None) -> None:
        if not outcome.success:
            listener.probe_failed(f"Readiness probe failed: {outcome.message}")
        if verdict is not None:
            listener.is_ready(ready=verdict)

    return report


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
