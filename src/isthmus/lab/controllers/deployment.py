"""Deployments: a ReplicaSet for each version of the template, and pods moved from the old ones to the new one."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.types import PatchType

from isthmus.lab.client import (
    EventRecorder,
    Informers,
    ObjectKey,
    ReconcileLoop,
    absent,
    conflict,
    controller_of,
    key_of,
    metadata_of,
)
from isthmus.lab.client.status import status_patch
from isthmus.lab.controllers.adoption import adopt, is_orphan_of
from isthmus.lab.controllers.deployment_status import PROGRESS_DEADLINE_S, deployment_status, progress_deadline
from isthmus.lab.controllers.ownership import owner_reference
from isthmus.lab.controllers.rollout import HASH_LABEL, SetState, plan, same_template, template_hash

REVISION = "deployment.kubernetes.io/revision"
HISTORY_LIMIT = 10


class DeploymentController:
    """Brings the ReplicaSets of each Deployment to what its template and strategy call for."""

    def __init__(self, client: AsyncClient, informers: Informers) -> None:
        self._client = client
        self._deployments = informers.of(Deployment)
        self._sets = informers.of(ReplicaSet)
        self._events = EventRecorder(client, component="deployment-controller")
        self._loop = ReconcileLoop[ObjectKey]("deployment", self._reconcile)
        self._deployments.subscribe(lambda key, _old, _new: self._loop.add(key))
        self._sets.subscribe(lambda _key, old, new: self._set_changed(new or old))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _set_changed(self, replica_set: ReplicaSet | None) -> None:
        owner = controller_of(replica_set) if replica_set is not None else None
        if replica_set is not None and owner is not None and owner.kind == "Deployment":
            self._loop.add(ObjectKey(key_of(replica_set).namespace, owner.name))
        elif replica_set is not None and owner is None:
            for deployment in self._deployments.namespace(key_of(replica_set).namespace):
                if is_orphan_of(deployment.spec.selector, replica_set):
                    self._loop.add(key_of(deployment))

    async def _reconcile(self, key: ObjectKey) -> None:
        deployment = self._deployments.get(key)
        if deployment is None or metadata_of(deployment).deletionTimestamp:
            return
        await self._adopt(deployment)
        owned = self._owned(deployment)
        new = next((s for s in owned if same_template(_template(s), deployment.spec.template)), None)
        if new is None:
            if deployment.spec.paused:
                await self._write_status(deployment, None, owned)
                return
            new = await self._create_set(deployment, owned)
        old = [s for s in owned if key_of(s) != key_of(new)]
        await self._keep_revision(deployment, new, old)
        await self._scale(deployment, new, old)
        await self._forget(deployment, old)
        await self._write_status(deployment, new, [new, *old])

    async def _adopt(self, deployment: Deployment) -> None:
        selector = deployment.spec.selector
        sets = self._sets.namespace(key_of(deployment).namespace)
        orphans = [replica_set for replica_set in sets if is_orphan_of(selector, replica_set)]
        for replica_set in await adopt(self._client, deployment, orphans):
            self._sets.observe(replica_set)

    def _owned(self, deployment: Deployment) -> list[ReplicaSet]:
        uid = metadata_of(deployment).uid
        owned = [
            s for s in self._sets.namespace(key_of(deployment).namespace) if (o := controller_of(s)) and o.uid == uid
        ]
        return sorted(owned, key=revision)

    async def _create_set(self, deployment: Deployment, owned: list[ReplicaSet]) -> ReplicaSet:
        wanted = replica_set_for(deployment, next_revision=max(map(revision, owned), default=0) + 1)
        try:
            created = await self._client.create(wanted)
        except ApiError as error:
            if not conflict(error):
                raise
            created = await self._client.get(ReplicaSet, key_of(wanted).name, namespace=key_of(wanted).namespace)
        self._sets.observe(created)
        return created

    async def _keep_revision(self, deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> None:
        newest = max(map(revision, old), default=0)
        if revision(new) <= newest:  # an older template has come back: it is the newest revision now
            patched = await self._patch(new, {"metadata": {"annotations": {REVISION: str(newest + 1)}}})
            metadata_of(new).annotations = metadata_of(patched).annotations
        current = (metadata_of(deployment).annotations or {}).get(REVISION)
        if current != str(revision(new)):
            patch = {"metadata": {"annotations": {REVISION: str(revision(new))}}}
            key = key_of(deployment)
            await self._client.patch(Deployment, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE)

    async def _scale(self, deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> None:
        by_name = {key_of(s).name: s for s in [new, *old]}
        targets = plan(deployment.spec, new=_state(new), old=[_state(s) for s in old])
        for name, replicas in sorted(targets.items()):
            before = _state(by_name[name]).desired
            self._sets.observe(await self._patch(by_name[name], {"spec": {"replicas": replicas}}))
            way = "up" if replicas > before else "down"
            message = f"Scaled {way} replica set {name} from {before} to {replicas}"
            await self._events.record(deployment, reason="ScalingReplicaSet", message=message)

    async def _patch(self, replica_set: ReplicaSet, patch: dict[str, Any]) -> ReplicaSet:
        key = key_of(replica_set)
        return await self._client.patch(
            ReplicaSet, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
        )

    async def _forget(self, deployment: Deployment, old: list[ReplicaSet]) -> None:
        """Delete the oldest ReplicaSets that are empty, beyond revisionHistoryLimit."""
        limit = deployment.spec.revisionHistoryLimit
        empty = [s for s in old if _state(s).desired == _state(s).actual == 0 and not metadata_of(s).deletionTimestamp]
        for replica_set in empty[: max(0, len(empty) - (HISTORY_LIMIT if limit is None else limit))]:
            key = key_of(replica_set)
            try:
                await self._client.delete(ReplicaSet, key.name, namespace=key.namespace)
            except ApiError as error:
                if not absent(error):
                    raise

    async def _write_status(self, deployment: Deployment, new: ReplicaSet | None, owned: list[ReplicaSet]) -> None:
        key = key_of(deployment)
        current = [self._sets.get(key_of(s)) or s for s in owned]
        newest = (self._sets.get(key_of(new)) or new) if new is not None else None
        now = datetime.now(UTC).replace(microsecond=0)
        status = deployment_status(deployment, new=newest, owned=current, now=now)
        if (patch := status_patch(deployment.status, status)) is not None:
            await self._client.patch(
                Deployment.Status, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
            )
        if (left_s := progress_deadline(status, now=now, limit_s=_deadline_s(deployment))) is not None:
            self._loop.add_after(left_s, key)


def _deadline_s(deployment: Deployment) -> int:
    wished = deployment.spec.progressDeadlineSeconds
    return PROGRESS_DEADLINE_S if wished is None else wished


def _template(replica_set: ReplicaSet) -> PodTemplateSpec:
    return replica_set.spec.template or PodTemplateSpec()


def _state(replica_set: ReplicaSet) -> SetState:
    spec, status = replica_set.spec, replica_set.status
    return SetState(
        name=key_of(replica_set).name,
        desired=1 if spec.replicas is None else spec.replicas,
        actual=status.replicas if status else 0,
        available=(status.availableReplicas or 0) if status else 0,
    )


def revision(replica_set: ReplicaSet) -> int:
    """The revision number that a ReplicaSet carries; 0 without one."""
    text = (metadata_of(replica_set).annotations or {}).get(REVISION, "")
    return int(text) if str(text).isdecimal() else 0


def replica_set_for(deployment: Deployment, *, next_revision: int) -> ReplicaSet:
    """The ReplicaSet, still without pods, of a Deployment's present template."""
    metadata, spec = metadata_of(deployment), deployment.spec
    digest = template_hash(spec.template)
    template = msgspec.convert(msgspec.to_builtins(spec.template), PodTemplateSpec)
    template.metadata = template.metadata or ObjectMeta()
    labels = {**(template.metadata.labels or {}), HASH_LABEL: digest}
    template.metadata.labels = labels
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{metadata.name}-{digest}",
            namespace=metadata.namespace,
            labels=labels,
            annotations={REVISION: str(next_revision)},
            ownerReferences=[owner_reference(deployment)],
        ),
        spec=ReplicaSetSpec(
            replicas=0,
            minReadySeconds=spec.minReadySeconds,
            selector=LabelSelector(
                matchLabels={**(spec.selector.matchLabels or {}), HASH_LABEL: digest},
                matchExpressions=spec.selector.matchExpressions,
            ),
            template=template,
        ),
    )
