"""The controller: follows control planes and what was made of them, and makes the one like the other.

Level-triggered: a key is looked at from scratch whenever the resource or one of its objects changes. A resource that
is gone wants nothing, so its objects go too, those outside its namespace as well, even if it went while nobody looked.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import structlog
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Service, ServiceAccount
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from lightkube.types import PatchType

from isthmus.api import ServiceMeshControlPlane
from isthmus.api.controlplane import ControlPlaneStatus
from isthmus.kube import (
    Candidacy,
    Candidate,
    Change,
    Client,
    Index,
    KubeObject,
    ObjectKey,
    Reflector,
    Selection,
    Store,
    WorkQueue,
    carry_out,
    key_of,
    metadata_of,
    plan,
)
from isthmus.kube.errors import KubeError, NotFound, TerminalError, translated
from isthmus.operator.desired import desired, problems
from isthmus.operator.mesh import OPERATOR, OURS, owner_of
from isthmus.operator.status import READY_COUNT, status_of

log = structlog.get_logger(__name__)

KINDS: tuple[type[Any], ...] = (
    ServiceAccount,
    Role,
    RoleBinding,
    ClusterRole,
    ClusterRoleBinding,
    ConfigMap,
    Service,
    PodDisruptionBudget,
    Deployment,
)
"""Every kind that a mesh is made of; what is no longer wanted is deleted in the reverse of this order."""


class Operator:
    """Turns ServiceMeshControlPlanes into meshes."""

    def __init__(
        self,
        client: Client,
        *,
        image: str,
        identity: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare.

        image: what the processes of meshes run from. identity: of this replica, such as the name of its pod; only one
        works at a time. now: the clock for the status.
        """
        self._client = client
        self._candidacy = Candidacy(name=OPERATOR, namespace=client.namespace, identity=identity)
        self._image = image
        self._now = now
        self._queue: WorkQueue[ObjectKey] = WorkQueue("operator")
        self._control_planes: Store[ServiceMeshControlPlane] = Store()
        self._owned: dict[type[Any], Store[Any]] = {kind: Store() for kind in KINDS}
        self._by_owner: list[Index[ObjectKey, Any]] = [
            Index(store, lambda obj: (owner_of(obj),)) for store in self._owned.values()
        ]
        self._subscribe()

    async def run(self, started: asyncio.Future[None]) -> NoReturn:
        """Work until cancelled. ``started`` is done once everything was seen, and the work begins when we lead.

        Raises LeaseLost in an ExceptionGroup if another replica may lead by now.
        """
        async with asyncio.TaskGroup() as group:
            self._follow(group)
            for store in (self._control_planes, *self._owned.values()):
                await store.synced.wait()
            log.info("operator started", control_planes=len(self._control_planes))
            started.set_result(None)
            async with Candidate(self._client, self._candidacy).leading():
                await self._queue.run(self._reconcile)
        raise AssertionError("the queue ends only by cancellation or with an error")

    def _subscribe(self) -> None:
        self._control_planes.subscribe(lambda change: self._queue.add(change.key))
        for store in self._owned.values():
            store.subscribe(self._owned_changed)

    def _owned_changed(self, change: Change[Any]) -> None:
        for obj in (change.old, change.new):
            if obj is not None:
                self._queue.add(owner_of(obj))

    def _follow(self, group: asyncio.TaskGroup) -> None:
        reflectors: dict[str, Reflector[Any]] = {
            "control planes": Reflector(self._client, ServiceMeshControlPlane, self._control_planes)
        }
        for kind, store in self._owned.items():
            reflectors[kind.__name__] = Reflector(self._client, kind, store, selection=Selection(labels=OURS))
        for name, reflector in reflectors.items():
            group.create_task(reflector.run(), name=f"watch {name}")

    async def _reconcile(self, key: ObjectKey) -> None:
        if key in self._control_planes.rejected:
            raise TerminalError(f"ServiceMeshControlPlane {key}: {self._control_planes.rejected[key]}")
        control_plane = self._control_planes.get(key)
        if control_plane is None:
            await self._make(key, [])
        else:
            await self._reconcile_control_plane(key, control_plane)

    async def _reconcile_control_plane(self, key: ObjectKey, control_plane: ServiceMeshControlPlane) -> None:
        if metadata_of(control_plane).deletionTimestamp is not None:
            await self._make(key, [])
            return
        if wrong := problems(control_plane):
            await self._tell(control_plane, wanted=[], error="; ".join(wrong))
            raise TerminalError(f"ServiceMeshControlPlane {key}: {'; '.join(wrong)}")
        wanted = desired(control_plane, image=self._image)
        try:
            await self._make(key, wanted)
        except KubeError as error:
            await self._tell(control_plane, wanted=wanted, error=str(error))
            raise
        await self._tell(control_plane, wanted=wanted, error="")

    async def _make(self, key: ObjectKey, wanted: list[KubeObject]) -> None:
        writes = plan(self._observed(key), wanted)
        if writes:
            log.info("writing", writes=len(writes))
        await carry_out(self._client, writes)

    def _observed(self, key: ObjectKey) -> list[KubeObject]:
        return [obj for index in self._by_owner for obj in index.get(key)]

    async def _tell(self, control_plane: ServiceMeshControlPlane, *, wanted: list[KubeObject], error: str) -> None:
        """Write the status, if it is not so already."""
        key = key_of(control_plane)
        status = status_of(
            control_plane,
            wanted=[key_of(obj).name for obj in wanted if isinstance(obj, Deployment)],
            deployments=[obj for obj in self._observed(key) if isinstance(obj, Deployment)],
            error=error,
            now=self._now(),
        )
        if status != control_plane.status:
            await self._write_status(key, status)

    async def _write_status(self, key: ObjectKey, status: ControlPlaneStatus) -> None:
        log.info("status changed", ready=status.annotations[READY_COUNT])
        try:
            with translated(f"write the status of ServiceMeshControlPlane {key}"):
                await self._client.api.patch(
                    ServiceMeshControlPlane.Status,
                    key.name,
                    {"status": status},
                    namespace=key.namespace,
                    patch_type=PatchType.MERGE,
                )
        except NotFound:
            return
