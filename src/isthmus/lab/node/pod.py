"""One pod on this node: its folder, address, volumes and containers, from the first moment to the last."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog
from lightkube import AsyncClient
from lightkube.models.core_v1 import Container, PodSpec, PodStatus
from lightkube.resources.core_v1 import Pod

from isthmus.lab.client import EventRecorder, key_of, metadata_of
from isthmus.lab.node.container import ContainerRecord, ContainerRunner
from isthmus.lab.node.environment import CommandLine, command_line, environment
from isthmus.lab.node.files import Cluster, PodFiles
from isthmus.lab.node.logs import LogStore
from isthmus.lab.node.mounts import inside
from isthmus.lab.node.processes import ProcessHost
from isthmus.lab.node.records import first_record
from isthmus.lab.node.sources import MissingTokenError, Objects, Sources
from isthmus.lab.node.status import PodFacts, is_sidecar, pod_status
from isthmus.lab.node.tokens import PodTokens
from isthmus.lab.node.volumes import token_wishes

log = structlog.get_logger()

DEFAULT_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Host:
    """What all pods of a node share."""

    name: str
    address: str
    folder: Path
    cluster: Cluster
    client: AsyncClient
    processes: ProcessHost
    logs: LogStore
    objects: Objects
    events: EventRecorder


class Listener(Protocol):
    """Who wants to know that a pod's status has to be written."""

    def __call__(self, pod: "PodWorker") -> None:
        """The pod has changed; must not block."""


class PodWorker:
    """Runs one pod until it is stopped. :meth:`run` returns when nothing of it runs any more."""

    def __init__(self, pod: Pod, *, host: Host, address: str, changed: Listener) -> None:
        self.pod = pod
        self.uid = metadata_of(pod).uid or ""
        self.name = key_of(pod).name
        self.address = address
        self.finished = False
        self._host = host
        self._listener = changed
        self._began = datetime.now(UTC).replace(microsecond=0)
        self._files = PodFiles(pod, folder=inside(host.folder, self.uid), cluster=host.cluster)
        self._sources_changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._tokens = PodTokens(host.client, pod, changed=self.sources_changed)
        known = {status.name: status for status in self._known_statuses()}
        fresh = "PodInitializing" if self.spec.initContainers else "ContainerCreating"
        self._init = {c.name: first_record(known.get(c.name), fresh=fresh) for c in self.spec.initContainers or []}
        self._main = {c.name: first_record(known.get(c.name), fresh=fresh) for c in self.spec.containers}
        self._runners: list[ContainerRunner] = []
        self._grace_s: float | None = None

    @property
    def spec(self) -> PodSpec:
        """The pod's spec; a pod without one has been refused by the server."""
        return self.pod.spec or PodSpec(containers=[])

    @property
    def restart_policy(self) -> str:
        """Always, OnFailure or Never."""
        return self.spec.restartPolicy or "Always"

    @property
    def grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        wished = self.spec.terminationGracePeriodSeconds
        return self._grace_s if self._grace_s is not None else DEFAULT_GRACE_S if wished is None else float(wished)

    def _known_statuses(self) -> list[Any]:
        status = self.pod.status or PodStatus()
        return [*(status.initContainerStatuses or []), *(status.containerStatuses or [])]

    def stop(self, *, grace_s: float | None = None) -> None:
        """Ask for the end; ``grace_s`` shortens the pod's own grace."""
        if grace_s is not None:
            self._grace_s = min(grace_s, self.grace_s)
        self._stop.set()
        self._sources_changed.set()
        for runner in self._runners:
            runner.stop()

    def sources_changed(self) -> None:
        """Something that the pod may refer to has changed."""
        self._sources_changed.set()
        for runner in self._runners:
            runner.sources_changed()

    def changed(self) -> None:
        """The status has to be written."""
        self._listener(self)

    async def event(self, *, reason: str, message: str, warning: bool = False) -> None:
        """Record an Event about the pod."""
        await self._host.events.record(self.pod, reason=reason, message=message, warning=warning)

    def status(self, known: PodStatus, *, now: datetime) -> PodStatus:
        """The pod's status as it is now."""
        facts = PodFacts(
            spec=self.spec,
            uid=self.uid,
            known=known,
            init=self._init,
            main=self._main,
            address=self.address,
            host=self._host.address,
            began=self._began,
            terminating=metadata_of(self.pod).deletionTimestamp is not None,
        )
        return pod_status(facts, now=now)

    async def run(self) -> None:
        """Mount, run the init containers one after the other, then the others together."""
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [
                    group.create_task(self._tokens.keep(wish), name=f"token for {self.name}")
                    for wish in token_wishes(self.spec.volumes or [])
                ]
                self.changed()
                if await self._mount():
                    keepers.append(group.create_task(self._keep_volumes(), name=f"volumes of {self.name}"))
                    await self._run_containers(group)
                    await self._stop.wait()
                for task in keepers:
                    task.cancel()
        finally:
            self.finished = True

    def remove(self) -> None:
        """Delete the pod's folder with its logs."""
        self._files.remove()

    async def _run_containers(self, group: asyncio.TaskGroup) -> None:
        for container in self.spec.initContainers or []:
            runner = self._runner(container, self._init[container.name])
            if is_sidecar(container):
                group.create_task(runner.run(policy="Always"), name=f"{self.name} {container.name}")
                await self._started(runner)
            else:
                policy = "Never" if self.restart_policy == "Never" else "OnFailure"
                if await runner.run(policy=policy) != 0:
                    return
            if self._stop.is_set():
                return
        async with asyncio.TaskGroup() as main:
            for container in self.spec.containers:
                runner = self._runner(container, self._main[container.name])
                main.create_task(runner.run(policy=self.restart_policy), name=f"{self.name} {container.name}")

    async def _started(self, runner: ContainerRunner) -> None:
        while not (runner.record.started or self._stop.is_set()):
            runner.progressed.clear()
            await runner.progressed.wait()

    def _runner(self, container: Container, record: ContainerRecord) -> ContainerRunner:
        runner = ContainerRunner(container, record, pod=self, processes=self._host.processes, logs=self._host.logs)
        self._runners.append(runner)
        if self._stop.is_set():
            runner.stop()
        return runner

    async def _mount(self) -> bool:
        """Make the folder and all volumes; waits for what is missing. False if asked to stop before."""
        while not self._stop.is_set():
            self._sources_changed.clear()
            try:
                self._files.mount(self._sources())
            except (LookupError, ValueError) as error:
                await self._not_mounted(error)
                await self._sources_changed.wait()
            else:
                return True
        return False

    async def _not_mounted(self, error: Exception) -> None:
        if not isinstance(error, MissingTokenError):  # one is on its way at every start: nothing to tell anybody about
            await self.event(reason="FailedMount", message=f"MountVolume.SetUp failed: {error}", warning=True)

    async def _keep_volumes(self) -> None:
        while True:
            await self._sources_changed.wait()
            self._sources_changed.clear()
            try:
                self._files.render(self._sources())
            except (LookupError, ValueError) as error:  # what was mounted stays as it was
                log.info("volume not updated", pod=self.name, error=str(error))

    def _sources(self) -> Sources:
        return Sources(
            pod=self.pod,
            namespace=key_of(self.pod).namespace,
            pod_ip=self.address,
            host_ip=self._host.address,
            objects=self._host.objects,
            tokens=self._tokens.present,
        )

    def command(self, container: Container, argv: list[str] | None = None) -> CommandLine:
        """How to run the container, or ``argv`` inside it."""
        mounts = self._files.mounts(container)
        env = environment(container, self._sources(), base=self._files.environment(), mounts=mounts)
        if argv is not None:
            container = Container(name=container.name, command=argv, workingDir=container.workingDir)
        return command_line(container, env, mounts=mounts, home=str(self._files.home))
