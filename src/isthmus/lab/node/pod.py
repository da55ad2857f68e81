"""One pod on this node: its folder, address, volumes and containers, from the first moment to the last."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog
from lightkube import AsyncClient
from lightkube.models.core_v1 import Container, PodSpec, PodStatus
from lightkube.resources.core_v1 import Pod

from isthmus.lab.client import key_of, metadata_of
from isthmus.lab.node.container import ContainerRecord, ContainerRunner
from isthmus.lab.node.containers import PodContainers
from isthmus.lab.node.environment import CommandLine, command_line, environment
from isthmus.lab.node.events import PodEvents
from isthmus.lab.node.files import Cluster, PodFiles
from isthmus.lab.node.logs import LogStore
from isthmus.lab.node.mounts import inside
from isthmus.lab.node.processes import ProcessHost
from isthmus.lab.node.sources import MissingTokenError, Objects, Sources
from isthmus.lab.node.status import PodFacts, pod_status
from isthmus.lab.node.tokens import PodTokens
from isthmus.lab.node.volumes import token_wishes

log = structlog.get_logger()

DEFAULT_GRACE_S, MOUNT_AGAIN_S = 30.0, 10.0


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
    events: PodEvents


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
        self._containers = PodContainers(self.spec, pod.status or PodStatus(), make=self._runner)
        self._grace_s: float | None = None
        self._stopped_at: float | None = None

    @property
    def spec(self) -> PodSpec:
        """The pod's spec; a pod without one has been refused by the server."""
        return self.pod.spec or PodSpec(containers=[])

    @property
    def grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        wished = self.spec.terminationGracePeriodSeconds
        return self._grace_s if self._grace_s is not None else DEFAULT_GRACE_S if wished is None else float(wished)

    def kill_at(self, asked_at: float) -> float:
        """When a container that was asked at ``asked_at`` to end is killed (loop time): a pod ends within one grace."""
        return (asked_at if self._stopped_at is None else self._stopped_at) + self.grace_s

    def stop(self, *, grace_s: float | None = None) -> None:
        """Ask for the end; ``grace_s`` shortens the pod's own grace."""
        if grace_s is not None:
            self._grace_s = min(grace_s, self.grace_s)
        if self._stopped_at is None:
            self._stopped_at = asyncio.get_running_loop().time()
        self._stop.set()
        self._sources_changed.set()
        self._containers.stop()

    def sources_changed(self) -> None:
        """Something that the pod may refer to has changed."""
        self._sources_changed.set()
        self._containers.poke()

    def changed(self) -> None:
        """The status has to be written."""
        self._listener(self)

    def event(self, *, reason: str, message: str, warning: bool = False) -> None:
        """Have an Event about the pod recorded; does not wait for it."""
        self._host.events.record_nowait(self.pod, reason=reason, message=message, warning=warning)

    def status(self, known: PodStatus, *, now: datetime) -> PodStatus:
        """The pod's status as it is now."""
        facts = PodFacts(
            spec=self.spec,
            uid=self.uid,
            known=known,
            init=self._containers.init,
            main=self._containers.main,
            address=self.address,
            host=self._host.address,
            began=self._began,
            terminating=metadata_of(self.pod).deletionTimestamp is not None,
        )
        return pod_status(facts, now=now)

    async def run(self) -> None:
        """Mount, then run the containers."""
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [
                    group.create_task(self._tokens.keep(wish), name=f"token for {self.name}")
                    for wish in token_wishes(self.spec.volumes or [])
                ]
                self.changed()
                if await self._mount():
                    keepers.append(group.create_task(self._keep_volumes(), name=f"volumes of {self.name}"))
                    await self._containers.run()
                    await self._stop.wait()
                for task in keepers:
                    task.cancel()
        finally:
            self.finished = True

    def remove(self) -> None:
        """Delete the pod's folder with its logs."""
        self._host.logs.forget(self.uid)
        self._files.remove()

    def _runner(self, container: Container, record: ContainerRecord) -> ContainerRunner:
        return ContainerRunner(container, record, pod=self, processes=self._host.processes, logs=self._host.logs)

    async def _mount(self) -> bool:
        """Make the folder and all volumes; waits for what is missing. False if asked to stop before."""
        while not self._stop.is_set():
            self._sources_changed.clear()
            try:
                self._files.mount(self._sources())
            except (LookupError, ValueError, OSError) as error:
                self._not_mounted(error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(MOUNT_AGAIN_S):
                        await self._sources_changed.wait()
            else:
                return True
        return False

    def _not_mounted(self, error: Exception) -> None:
        if not isinstance(error, MissingTokenError):  # one is on its way at every start: nothing to tell anybody about
            self.event(reason="FailedMount", message=f"MountVolume.SetUp failed: {error}", warning=True)

    async def _keep_volumes(self) -> None:
        while True:
            await self._sources_changed.wait()
            self._sources_changed.clear()
            try:
                self._files.render(self._sources())
            except (LookupError, ValueError, OSError) as error:  # what was mounted stays as it was
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

    def message_file(self, container: Container) -> Path:
        """Where the container may leave its last words."""
        return self._files.message(container)

    def command(self, container: Container, argv: list[str] | None = None) -> CommandLine:
        """How to run the container, or ``argv`` inside it."""
        sources, base = self._sources(), self._files.environment()
        variables = environment(container, sources, base=base, mounts={})
        mounts = self._files.mounts(container, variables=variables)
        env = environment(container, sources, base=base, mounts=mounts)
        if argv is not None:
            container = Container(name=container.name, command=argv, workingDir=container.workingDir)
        return command_line(container, env, mounts=mounts, home=str(self._files.home))
