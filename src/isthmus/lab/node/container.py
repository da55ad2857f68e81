"""One container of a pod: start it, follow its output and its probes, start it again, end it with grace."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    Probe,
)

from isthmus.lab.node import probes
from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.logs import ContainerLog, LogStore
from isthmus.lab.node.processes import Output, Process, ProcessHost, StartError
from isthmus.lab.node.restart import RestartDelay, restarts
from isthmus.lab.node.sources import MissingSourceError

log = structlog.get_logger()

OUTPUT_END_S = 0.5
CANNOT_START = 128  # the exit code that container runtimes report
EXEC_OUTPUT_BYTES = 1024


class Surroundings(Protocol):
    """What a container needs of its pod."""

    uid: str
    name: str
    address: str

    @property
    def grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""

    def command(self, container: Container, argv: list[str] | None = None) -> CommandLine:
        """How to run the container, or ``argv`` inside it. Raises MissingSourceError, LookupError or ValueError."""

    def changed(self) -> None:
        """A container's state has changed."""

    async def event(self, *, reason: str, message: str, warning: bool = False) -> None:
        """Record an Event about the pod."""


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
        self.progressed = asyncio.Event()

    def stop(self) -> None:
        """Ask for the end: SIGTERM, and SIGKILL when the pod's grace is over."""
        self._stop.set()
        self._poke.set()

    def sources_changed(self) -> None:
        """A ConfigMap or Secret has changed: a container that waits for one may go on."""
        self._poke.set()

    async def run(self, *, policy: str) -> int:
        """Run, and run again as ``policy`` says; the exit code of the last run (143 if there was none)."""
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
                await self._cannot("CreateContainerConfigError", str(error))
            except (LookupError, ValueError) as error:
                await self._cannot("CreateContainerError", str(error))
            await self._poke.wait()
        return None

    async def _cannot(self, reason: str, message: str) -> None:
        self._change(state=waiting(reason, message))
        await self._pod.event(reason="Failed", message=f"Error: {message}", warning=True)

    async def _back_off(self, ran_s: float) -> None:
        delay_s = self._delay.after_run(ran_s)
        message = f"back-off {delay_s:g}s restarting failed container={self.container.name} pod={self._pod.name}"
        self.record.last = self.record.state
        self._change(state=waiting("CrashLoopBackOff", message), ready=False)
        self.record.restarts += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                while not self._stop.is_set():
                    self._poke.clear()
                    await self._poke.wait()

    async def _once(self, command: CommandLine) -> int:
        """One run from start to end; the exit code."""
        record = self.record
        record.run += 1
        container_log = self._logs.begin(self._pod.uid, self.container.name, record.run)
        started = datetime.now(UTC).replace(microsecond=0)
        try:
            async with _Capture(container_log) as capture:
                process = await self._processes.start(
                    command, mark=f"{self._pod.uid}/{self.container.name}", output=capture.output
                )
                capture.release()
                record.pid = process.pid
                self._change(
                    state=ContainerState(running=ContainerStateRunning(startedAt=started)),
                    ready=self.container.readinessProbe is None and self.container.startupProbe is None,
                    started=self.container.startupProbe is None,
                )
                code = await self._attend(process)
        except StartError as error:
            await self._pod.event(reason="Failed", message=f"Error: {error}", warning=True)
            self._ended(CANNOT_START, started, reason="StartError", message=str(error))
            return CANNOT_START
        finally:
            container_log.close(now=datetime.now(UTC))
        self._ended(code, started, reason="Completed" if code == 0 else "Error")
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
            attendants = [watcher, group.create_task(self._probe(process), name=f"probe {self.container.name}")]
            while process.exit is None and not self._stop.is_set() and not self._unhealthy:
                self._poke.clear()
                await self._poke.wait()
            if process.exit is None:
                await self._end(process)
            for task in attendants:
                task.cancel()
        return await process.wait()

    async def _wake_at_end(self, process: Process) -> None:
        await process.wait()
        self._poke.set()

    async def _end(self, process: Process) -> None:
        """SIGTERM, then SIGKILL when the grace is over."""
        if self._unhealthy:
            await self._pod.event(reason="Killing", message=self._unhealthy, warning=True)
        process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._pod.grace_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _probe(self, process: Process) -> None:
        """Startup first, then liveness and readiness side by side, as the documentation of probes has it."""
        container = self.container
        target = probes.Target(address=self._pod.address, container=container, execute=self._execute)
        if container.startupProbe is not None:
            await self._startup(container.startupProbe, target, process)
        async with asyncio.TaskGroup() as group:
            if container.livenessProbe is not None:
                group.create_task(
                    probes.watch(container.livenessProbe, target, kind="liveness", report=self._lives),
                    name=f"liveness of {container.name}",
                )
            if container.readinessProbe is not None:
                group.create_task(
                    probes.watch(container.readinessProbe, target, kind="readiness", report=self._is_ready),
                    name=f"readiness of {container.name}",
                )

    async def _startup(self, probe: Probe, target: probes.Target, process: Process) -> None:
        succeeded = asyncio.Event()

        def report(verdict: bool, message: str) -> None:
            if verdict:
                succeeded.set()
            else:
                self._fail(f"Container {self.container.name} failed startup probe, will be restarted: {message}")

        async with asyncio.TaskGroup() as group:
            watch = group.create_task(
                probes.watch(probe, target, kind="startup", report=report), name=f"startup of {self.container.name}"
            )
            await succeeded.wait()
            watch.cancel()
        if process.exit is None:
            self._change(started=True, ready=self.container.readinessProbe is None)

    def _lives(self, verdict: bool, message: str) -> None:
        if not verdict:
            self._fail(f"Container {self.container.name} failed liveness probe, will be restarted: {message}")

    def _is_ready(self, verdict: bool, message: str) -> None:
        self._change(ready=verdict)
        if not verdict:
            log.debug("not ready", pod=self._pod.name, container=self.container.name, message=message)

    def _fail(self, message: str) -> None:
        self._unhealthy = message
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
        """Run a command beside the container (an exec probe); its exit code and the beginning of its output."""
        command = self._pod.command(self.container, argv)
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            process = await self._processes.start(command, mark=f"{self._pod.uid}/probe", output=Output(write, write))
        finally:
            os.close(write)
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
            os.set_blocking(read, False)
            with suppress(BlockingIOError):
                return code, os.read(read, EXEC_OUTPUT_BYTES).decode(errors="replace").strip()
            return code, ""
        finally:
            if process.exit is None:
                process.kill()
            os.close(read)


class _Capture:
    """Two pipes from a container into its log."""

    def __init__(self, container_log: ContainerLog) -> None:
        self._log = container_log
        self._writers: list[int] = []
        self._ends: list[_Stream] = []

    @property
    def output(self) -> Output:
        return Output(stdout=self._writers[0], stderr=self._writers[1])

    async def __aenter__(self) -> "_Capture":
        loop = asyncio.get_running_loop()
        for name in ("stdout", "stderr"):
            read, write = os.pipe2(os.O_CLOEXEC)
            self._writers.append(write)
            stream = _Stream(name, self._log)
            await loop.connect_read_pipe(lambda s=stream: s, os.fdopen(read, "rb", buffering=0))  # type: ignore[misc]  # mypy does not see the default
            self._ends.append(stream)
        return self

    def release(self) -> None:
        """Close our copies of the writing ends, so that the end of the container is the end of the output."""
        while self._writers:
            os.close(self._writers.pop())

    async def __aexit__(self, *_: object) -> None:
        self.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_END_S):
                for stream in self._ends:
                    await stream.ended.wait()
        for stream in self._ends:
            stream.close()


class _Stream(asyncio.Protocol):
    def __init__(self, name: str, container_log: ContainerLog) -> None:
        self._name = name
        self._log = container_log
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._log.closed:
            self._log.write(self._name, data, now=datetime.now(UTC))

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
