"""The containers of one pod and their order ("Init Containers", "Sidecar Containers", "Pod Lifecycle").

Init containers run one after the other, each to its success; one with ``restartPolicy: Always`` is a sidecar: the next
begins when it has started, and it goes on beside the main containers, which run together. When these are finished, or
the pod is to end, sidecars end last, in the reverse of the order in which they began.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from lightkube.models.core_v1 import Container, PodSpec, PodStatus

from isthmus.lab.node.container import ContainerRecord, ContainerRunner
from isthmus.lab.node.records import first_record
from isthmus.lab.node.restart import init_policy
from isthmus.lab.node.status import is_sidecar

Make = Callable[[Container, ContainerRecord], ContainerRunner]


class _Sidecar(NamedTuple):
    runner: ContainerRunner
    task: asyncio.Task[int]


class PodContainers:
    """Runs all containers of a pod; ``init`` and ``main`` say by name what each of them does."""

    def __init__(self, spec: PodSpec, known: PodStatus, *, make: Make) -> None:
        """``known`` is the stored status, from which a pod goes on after a restart of the node."""
        self._spec = spec
        self._make = make
        self._policy = spec.restartPolicy or "Always"
        self._running: list[ContainerRunner] = []
        self._sidecars: list[_Sidecar] = []
        self._stopping = False
        before = {one.name: one for one in [*(known.initContainerStatuses or []), *(known.containerStatuses or [])]}
        fresh = "PodInitializing" if spec.initContainers else "ContainerCreating"
        self.init = {
            one.name: first_record(before.get(one.name), fresh=fresh, policy=init_policy(one, self._policy))
            for one in spec.initContainers or []
        }
        self.main = {
            one.name: first_record(before.get(one.name), fresh=fresh, policy=self._policy) for one in spec.containers
        }

    def stop(self) -> None:
        """Ask for the end of the containers; said again, they look at how much grace is left."""
        self._stopping = True
        for runner in self._running:
            runner.stop()
        for sidecar in self._sidecars:
            sidecar.runner.poke()

    def poke(self) -> None:
        """Something that the containers may wait for has changed."""
        for runner in [*self._running, *(sidecar.runner for sidecar in self._sidecars)]:
            runner.poke()

    async def run(self) -> None:
        """Run them; returns when all are finished for good, or have ended after :meth:`stop`."""
        if all(record.state.terminated is not None for record in self.main.values()):
            return  # what had ended before the node went away stays ended
        async with asyncio.TaskGroup() as group:
            if await self._initialize(group):
                await self._run_main()
            while self._sidecars:
                sidecar = self._sidecars[-1]
                sidecar.runner.stop()
                await asyncio.wait([sidecar.task])
                self._sidecars.pop()

    async def _initialize(self, group: asyncio.TaskGroup) -> bool:
        """Run the init containers; False if one has failed for good, or the pod is to end."""
        for container in self._spec.initContainers or []:
            runner = self._make(container, self.init[container.name])
            if is_sidecar(container):
                task = group.create_task(runner.run(policy="Always"), name=f"sidecar {container.name}")
                self._sidecars.append(_Sidecar(runner, task))
                await self._wait_started(runner)
            elif await self._run(runner, init_policy(container, self._policy)) != 0:
                return False
            if self._stopping:
                return False
        return True

    async def _wait_started(self, runner: ContainerRunner) -> None:
        while not (runner.record.started or self._stopping):
            runner.progressed.clear()
            await runner.progressed.wait()

    async def _run_main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for container in self._spec.containers:
                runner = self._make(container, self.main[container.name])
                group.create_task(self._run(runner, self._policy), name=f"container {container.name}")

    async def _run(self, runner: ContainerRunner, policy: str) -> int:
        self._running.append(runner)
        if self._stopping:
            runner.stop()
        try:
            return await runner.run(policy=policy)
        finally:
            self._running.remove(runner)
