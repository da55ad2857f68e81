"""Carries plans out: reads, lets ``plan`` and ``undo`` decide, writes, and waits for what follows from it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from isthmus.api import ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.doctor.linking.errors import LinkError, NotDone
from isthmus.doctor.linking.options import Options
from isthmus.doctor.linking.plan import Plan, Step, Verb, plan_link
from isthmus.doctor.linking.readiness import not_ready
from isthmus.doctor.linking.reading import (
    MANAGER,
    MeshAsked,
    Site,
    connected,
    read_meshes,
    read_peers,
)
from isthmus.doctor.linking.undo import plan_unlink
from isthmus.doctor.objects import side_by_side
from isthmus.kube.errors import NotFound, translated

Progress = Callable[[str], None]
"""Is told each stage that is done."""

POLL_S = 0.2
_KINDS: dict[str, Any] = {
    "ServiceMeshControlPlane": ServiceMeshControlPlane,
    "ServiceMeshPeer": ServiceMeshPeer,
    "ConfigMap": ConfigMap,
}


class Linker:
    """The meshes that were asked for, connected. Made by :func:`connect_to`."""

    def __init__(self, sites: Sequence[Site], names: Sequence[str]) -> None:
        """Remember them. names: of all meshes, also of those that are out of reach."""
        self._sites = list(sites)
        self._names = list(names)

    async def plan_link(self, options: Options) -> Plan:
        """What links them, as they are now. Raises LinkError and KubeError."""
        return plan_link(await read_meshes(self._sites, self._names), options)

    async def plan_unlink(self) -> Plan:
        """What undoes their links, as they are now. Raises LinkError and KubeError."""
        return plan_unlink(await read_meshes(self._sites, self._names), self._names)

    async def carry_out(self, plan: Plan) -> None:
        """Write all steps whose objects are known, in order for each mesh. Raises KubeError for one that fails."""
        by_mesh = {mesh.name: site for mesh, site in zip(plan.meshes, self._sites, strict=True)}
        await side_by_side(
            [_write_all(site, [step for step in plan.steps if step.mesh == name]) for name, site in by_mesh.items()]
        )

    async def link(self, plan: Plan, options: Options, *, timeout_s: float, progress: Progress) -> None:
        """Carry out a plan and those that follow from it, until every peer is ready.

        Raises:
            NotDone: not within ``timeout_s``; what was written stays.
            LinkError, KubeError: as for the parts.
        """
        waiting: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                await self._write(plan, options, waiting, progress)
                await self._peers_ready(plan, waiting, progress)
        except TimeoutError as error:
            raise NotDone(f"not done within {timeout_s:g} s", list(waiting)) from error

    async def _write(self, plan: Plan, options: Options, waiting: list[str], progress: Progress) -> None:
        is_done = plan.is_done
        while True:
            await self.carry_out(plan)
            waiting[:] = [
                f"{step.mesh}: {step.kind} {step.name}: {step.details[0]}" for step in plan.steps if step.is_open
            ]
            if not waiting:
                break
            await asyncio.sleep(POLL_S)
            plan = await self.plan_link(options)
        if not is_done:
            progress("gateways, roots and peers are written")

    async def _peers_ready(self, plan: Plan, waiting: list[str], progress: Progress) -> None:
        """Wait until each mesh's peers are ready; ``waiting`` is what is not yet."""
        while True:
            found = await side_by_side(
                [read_peers(site, mesh) for site, mesh in zip(self._sites, plan.meshes, strict=True)]
            )
            states = [
                (f"{mesh.name}: ServiceMeshPeer {name}", not_ready(peers.get(name, {})))
                for mesh, peers in zip(plan.meshes, found, strict=True)
                for name in self._names
                if name != mesh.name
            ]
            waiting[:] = [f"{who}: {why}" for who, why in states if why]
            if not waiting:
                progress(f"{len(states)} peers are ready")
                return
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def connect_to(asked: Sequence[MeshAsked], kubeconfig: Path | None = None) -> AsyncIterator[Linker]:
    """Connect to the clusters of these meshes for the block.

    Raises:
        ContextError: a context is not there.
        LinkError: two meshes have one name.
    """
    names = [mesh.name for mesh in asked]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise LinkError([f"more than one mesh is called {name}: the others know it by its name" for name in repeated])
    async with connected(asked, kubeconfig) as sites:
        yield Linker(sites, names)


async def _write_all(site: Site, steps: Sequence[Step]) -> None:
    for step in steps:
        await write(site, step)


async def write(site: Site, step: Step) -> None:
    """Write one step. Raises KubeError."""
    kind, api = _KINDS[step.kind], site.client.api
    what = f"{step.kind} {step.namespace}/{step.name} in {site.asked.where}"
    # As a mapping: the kind of one object is not known to the type checker.
    where: Any = {"namespace": step.namespace}
    if step.verb is Verb.DELETE:
        try:
            with translated(f"delete {what}"):
                await api.delete(kind, step.name, **where)
        except NotFound:
            return
    elif step.patch is not None:
        with translated(f"change {what}"):
            await api.patch(kind, step.name, dict(step.patch), patch_type=PatchType.MERGE, **where)
    elif step.object is not None:
        # What someone else has written between our look and now is a conflict, unless it was ours before.
        with translated(f"apply {what}"):
            await api.patch(
                kind,
                step.name,
                dict(step.object),
                patch_type=PatchType.APPLY,
                field_manager=MANAGER,
                force=step.verb is Verb.CHANGE,
                **where,
            )
