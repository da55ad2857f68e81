"""One container of a pod: start it, follow its output and its probes, start it again, end it with grace."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
)

from isthmus.lab.node import termination
from isthmus.lab.node.capture import Capture, output_of
from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.health import before_stop, watch_health
from isthmus.lab.node.logs import LogStore
from isthmus.lab.node.probes import Target
from isthmus.lab.node.processes import Process, ProcessHost, StartError
from isthmus.lab.node.restart import RestartDelay, restarts
from isthmus.lab.node.sources import MissingSourceError

CANNOT_START = 128  # the exit code that container runtimes report


class Surroundings(Protocol):
    """What a container needs of its pod."""

    uid: str
    name: str
    address: str

    def kill_at(self, asked_at: float) -> float:
        """When a container that was asked at ``asked_at`` to end is killed (loop time); may become earlier."""

    def command(self, container: Container, argv: list[str] | None = None) -> CommandLine:
        """How to run the container, or ``argv`` inside it. Raises MissingSourceError, LookupError or ValueError."""

    def message_file(self, container: Container) -> Path:
        """Where the container may leave its last words."""

    def changed(self) -> None:
        """A container's state has changed."""

    def event(self, *, reason: str, message: str, warning: bool = False) -> None:
        """Have an Event about the pod recorded; does not wait for it."""


@dataclass(slots=True)
class ContainerRecord:
    """What the status says of one container; ``state`` and ``last`` as core/v1 ContainerStatus has them."""

    state: ContainerState
    last: ContainerState | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    run: int = 0
    pid: int = 0


def waiting(reason: str, message: str | None = None) -> ContainerState:
    """A state in which nothing runs, and why."""
    return ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))


class ContainerRunner:
    """Runs one container until it is finished for good or asked to stop."""

    def __init__(
        self,
        container: Container,
        record: ContainerRecord,
        *,
        pod: Surroundings,
        processes: ProcessHost,
        logs: LogStore,
    ) -> None:
        self.container = container
        self.record = record
        self._pod = pod
        self._processes = processes
        self._logs = logs
        self._delay = RestartDelay()
        self._poke = asyncio.Event()
        self._stop = asyncio.Event()
        self._unhealthy = ""
        self._unhealthy_grace_s: float | None = None
        self.progressed = asyncio.Event()

    def stop(self) -> None:
        """Ask for the end: SIGTERM, and SIGKILL when the pod's grace is over."""
        self._stop.set()
        self._poke.set()

    def poke(self) -> None:
        """Look again: something that the container waits for, or its grace, has changed."""
        self.progressed.set()
        self._poke.set()

    async def run(self, *, policy: str) -> int:
        """Run, and run again as ``policy`` says; the exit code of the last run (143 if there was none).

        A container whose record says that it has ended is not run.
        """
        if (ended := self.record.state.terminated) is not None:
            return ended.exitCode
        code = 143
        while not self._stop.is_set():
            command = await self._configured()
            if command is None:
                break
            began = asyncio.get_running_loop().time()
            code = await self._once(command)
            if self._stop.is_set() or not restarts(policy, exit_code=code):
                break
            await self._back_off(asyncio.get_running_loop().time() - began)
        self._change(ready=False)
        return code

    async def _configured(self) -> CommandLine | None:
        """The command line, as soon as all that it refers to is there; None if asked to stop before."""
        while not self._stop.is_set():
            self._poke.clear()
            try:
                return self._pod.command(self.container)
            except MissingSourceError as error:
                self._cannot("CreateContainerConfigError", str(error))
            except (LookupError, ValueError, OSError) as error:
                self._cannot("CreateContainerError", str(error))
            await self._poke.wait()
        return None

    def _cannot(self, reason: str, message: str) -> None:
        self._change(state=waiting(reason, message))
        self._pod.event(reason="Failed", message=f"Error: {message}", warning=True)

    async def _back_off(self, ran_s: float) -> None:
        delay_s = self._delay.after_run(ran_s)
        message = f"back-off {delay_s:g}s restarting failed container={self.container.name} pod={self._pod.name}"
        told = f"Back-off restarting failed container {self.container.name} in pod {self._pod.name}({self._pod.uid})"
        self._pod.event(reason="BackOff", message=told, warning=True)
        self.record.last = self.record.state
        self._logs.set_aside(self._pod.uid, self.container.name)
        self._change(state=waiting("CrashLoopBackOff", message), ready=False)
        self.record.restarts += 1
        loop = asyncio.get_running_loop()
        until = loop.time() + delay_s
        while not self._stop.is_set() and (left_s := until - loop.time()) > 0:
            await self._poked(left_s)

    async def _once(self, command: CommandLine) -> int:
        """One run from start to end; the exit code."""
        record = self.record
        record.run += 1
        container_log = self._logs.begin(self._pod.uid, self.container.name, record.run)
        last_words = self._pod.message_file(self.container)
        termination.prepare(last_words)
        started = datetime.now(UTC).replace(microsecond=0)
        try:
            async with Capture(container_log) as capture:
                process = await self._processes.start(
                    command, mark=f"{self._pod.uid}/{self.container.name}", output=capture.output
                )
                capture.release()
                record.pid = process.pid
                self._pod.event(reason="Started", message=f"Started container {self.container.name}")
                self._change(
                    state=ContainerState(running=ContainerStateRunning(startedAt=started)),
                    ready=self.container.readinessProbe is None and self.container.startupProbe is None,
                    started=self.container.startupProbe is None,
                )
                code = await self._attend(process)
        except StartError as error:
            self._pod.event(reason="Failed", message=f"Error: {error}", warning=True)
            self._ended(CANNOT_START, started, reason="StartError", message=str(error))
            return CANNOT_START
        finally:
            container_log.close(now=datetime.now(UTC))
        message = termination.message(self.container, last_words, container_log.files, failed=code != 0)
        self._ended(code, started, reason="Completed" if code == 0 else "Error", message=message)
        return code

    def _ended(self, code: int, started: datetime, *, reason: str, message: str | None = None) -> None:
        terminated = ContainerStateTerminated(
            exitCode=128 - code if code < 0 else code,
            signal=-code if code < 0 else None,
            reason=reason,
            message=message,
            startedAt=started,
            finishedAt=datetime.now(UTC).replace(microsecond=0),
            containerID=self._container_id(),
        )
        self._change(state=ContainerState(terminated=terminated), ready=False, started=False)

    def _container_id(self) -> str:
        return f"process://{self._pod.uid}/{self.container.name}/{self.record.run}"

    async def _attend(self, process: Process) -> int:
        """Probe a running process until it ends, and end it if it is unhealthy or no longer wanted."""
        self._unhealthy = ""
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._wake_at_end(process), name=f"wait for {self.container.name}")
            attendants = [watcher, group.create_task(self._watch_health(), name=f"probe {self.container.name}")]
            while process.exit is None and not self._stop.is_set() and not self._unhealthy:
                self._poke.clear()
                await self._poke.wait()
            if process.exit is None:
                await self._end(process)
            for task in attendants:
                task.cancel()
        return await process.wait()

    async def _watch_health(self) -> None:
        await watch_health(self.container, self._target(), self)

    def _target(self) -> Target:
        return Target(address=self._pod.address, container=self.container, execute=self._execute)

    async def _wake_at_end(self, process: Process) -> None:
        await process.wait()
        self._poke.set()

    async def _end(self, process: Process) -> None:
        """The hook, SIGTERM, then SIGKILL when the grace is over; the grace may become shorter meanwhile."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        message = self._unhealthy or f"Stopping container {self.container.name}"
        self._pod.event(reason="Killing", message=message)
        grace_s = max(0.0, self._kill_at(began) - began)
        hook = await before_stop(self.container.lifecycle, self._target(), grace_s=grace_s)
        if not hook.success:
            self._pod.event(reason="FailedPreStopHook", message=hook.message, warning=True)
        process.signal(signal.SIGTERM)
        while process.exit is None and (left_s := self._kill_at(began) - loop.time()) > 0:
            await self._poked(left_s)
        if process.exit is None:
            process.kill()
            await process.wait()

    def _kill_at(self, began: float) -> float:
        """When the grace is over (loop time): the probe's own, if it has one, while the pod is to go on."""
        if self._unhealthy_grace_s is not None and not self._stop.is_set():
            return began + self._unhealthy_grace_s
        return self._pod.kill_at(began)

    async def _poked(self, within_s: float) -> None:
        """Wait until something has changed, for so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._poke.wait()
        self._poke.clear()

    # What the probes find (HealthListener)

    def has_started(self) -> None:
        """Without a readiness probe a container is ready when it has started."""
        self._change(started=True, ready=self.record.ready or self.container.readinessProbe is None)

    def is_ready(self, *, ready: bool) -> None:
        """The readiness probe's verdict."""
        self._change(ready=ready)

    def probe_failed(self, message: str) -> None:
        """Tell the administrator."""
        self._pod.event(reason="Unhealthy", message=message, warning=True)

    def is_unhealthy(self, message: str, *, grace_s: float | None) -> None:
        """End this run; the next one begins after the back-off."""
        self._unhealthy, self._unhealthy_grace_s = message, grace_s
        self._poke.set()

    def _change(
        self, *, state: ContainerState | None = None, ready: bool | None = None, started: bool | None = None
    ) -> None:
        record = self.record
        before = (record.state, record.ready, record.started)
        record.state = record.state if state is None else state
        record.ready = record.ready if ready is None else ready
        record.started = record.started if started is None else started
        if before != (record.state, record.ready, record.started):
            self.progressed.set()
            self._pod.changed()

    async def _execute(self, argv: list[str], timeout_s: float) -> tuple[int, str]:
        command = self._pod.command(self.container, argv)
        return await output_of(self._processes, command, mark=f"{self._pod.uid}/probe", timeout_s=timeout_s)
