"""ReplicaSets: as many pods of one template as wished; one that is gone is replaced."""

from datetime import UTC, datetime, timedelta
from itertools import islice

from lightkube import ApiError, AsyncClient
from lightkube.models.apps_v1 import ReplicaSetStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from isthmus.lab.client import EventRecorder, Informers, ObjectKey, ReconcileLoop, absent, controller_of, key_of
from isthmus.lab.client.objects import metadata_of
from isthmus.lab.client.status import status_patch
from isthmus.lab.controllers.adoption import adopt, is_orphan_of
from isthmus.lab.controllers.ownership import owner_reference

BURST = 50  # pods made or deleted in one go; then others have their turn

_ENDED = ("Succeeded", "Failed")


class ReplicaSetController:
    """Makes and deletes pods until each ReplicaSet has what it asks for."""

    def __init__(self, client: AsyncClient, informers: Informers) -> None:
        self._client = client
        self._sets = informers.of(ReplicaSet)
        self._pods = informers.of(Pod)
        self._events = EventRecorder(client, component="replicaset-controller")
        self._deleting: set[str] = set()  # uids of pods that were deleted and may still look alive in the local copy
        self._loop = ReconcileLoop[ObjectKey]("replicaset", self._reconcile)
        self._sets.subscribe(lambda key, _old, _new: self._loop.add(key))
        self._pods.subscribe(lambda _key, old, new: self._pod_changed(old, new))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        if new is None or metadata_of(new).deletionTimestamp:
            self._deleting.discard(metadata_of(pod).uid or "")
        owner = controller_of(pod)
        if owner is not None and owner.kind == "ReplicaSet":
            self._loop.add(ObjectKey(key_of(pod).namespace, owner.name))
        elif owner is None and new is not None:
            for replica_set in self._sets.namespace(key_of(new).namespace):
                if is_orphan_of(replica_set.spec.selector, new):
                    self._loop.add(key_of(replica_set))

    async def _reconcile(self, key: ObjectKey) -> None:
        replica_set = self._sets.get(key)
        if replica_set is None or replica_set.spec is None:
            return
        if not metadata_of(replica_set).deletionTimestamp:
            await self._adopt(replica_set)
            wished = 1 if replica_set.spec.replicas is None else replica_set.spec.replicas
            active = self._active(replica_set)
            for _ in range(min(BURST, wished - len(active))):
                await self._create(replica_set)
            for pod in islice(sorted(active, key=deletion_rank), min(BURST, max(0, len(active) - wished))):
                await self._delete(replica_set, pod)
            if abs(wished - len(active)) > BURST:
                self._loop.add(key)
        await self._write_status(replica_set)

    async def _adopt(self, replica_set: ReplicaSet) -> None:
        pods = self._pods.namespace(key_of(replica_set).namespace)
        orphans = [pod for pod in pods if phase(pod) not in _ENDED and is_orphan_of(replica_set.spec.selector, pod)]
        for pod in await adopt(self._client, replica_set, orphans):
            self._pods.observe(pod)

    def _active(self, replica_set: ReplicaSet) -> list[Pod]:
        uid = metadata_of(replica_set).uid
        return [
            pod
            for pod in self._pods.namespace(key_of(replica_set).namespace)
            if (owner := controller_of(pod)) is not None
            and owner.uid == uid
            and not metadata_of(pod).deletionTimestamp
            and metadata_of(pod).uid not in self._deleting
            and phase(pod) not in _ENDED
        ]

    async def _create(self, replica_set: ReplicaSet) -> None:
        try:
            pod = await self._client.create(pod_for(replica_set))
        except ApiError as error:
            message = f"Error creating: {error}"
            await self._events.record(replica_set, reason="FailedCreate", message=message, warning=True)
            raise
        self._pods.observe(pod)
        message = f"Created pod: {key_of(pod).name}"
        await self._events.record(replica_set, reason="SuccessfulCreate", message=message)

    async def _delete(self, replica_set: ReplicaSet, pod: Pod) -> None:
        key = key_of(pod)
        self._deleting.add(metadata_of(pod).uid or "")
        try:
            await self._client.delete(Pod, key.name, namespace=key.namespace)
        except ApiError as error:
            self._deleting.discard(metadata_of(pod).uid or "")
            if not absent(error):
                raise
        await self._events.record(replica_set, reason="SuccessfulDelete", message=f"Deleted pod: {key.name}")

    async def _write_status(self, replica_set: ReplicaSet) -> None:
        key, now = key_of(replica_set), datetime.now(UTC)
        active = self._active(replica_set)
        status = replica_set_status(replica_set, active, now=now)
        if (patch := status_patch(replica_set.status, status)) is not None:
            updated = await self._client.patch(
                ReplicaSet.Status, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
            )
            self._sets.observe(ReplicaSet.from_dict(updated.to_dict()))  # type: ignore[arg-type]  # same model, read back
        if (status.availableReplicas or 0) < (status.readyReplicas or 0):
            self._loop.add_after(1.0, key)


def phase(pod: Pod) -> str:
    """The phase of a pod; Pending as long as nobody has said otherwise."""
    return (pod.status.phase if pod.status else None) or "Pending"


def ready_since(pod: Pod) -> datetime | None:
    """Since when the pod's Ready condition is True; None if it is not."""
    for condition in (pod.status.conditions if pod.status else None) or []:
        if condition.type == "Ready" and condition.status == "True":
            return condition.lastTransitionTime or datetime.fromtimestamp(0, UTC)
    return None


def deletion_rank(pod: Pod) -> tuple[bool, bool, float]:
    """Who goes first: pods without a node, then pods that are not ready, then the youngest."""
    created = metadata_of(pod).creationTimestamp
    bound = bool(pod.spec and pod.spec.nodeName)
    return bound, ready_since(pod) is not None, -(created.timestamp() if created else 0.0)


def pod_for(replica_set: ReplicaSet) -> Pod:
    """One more pod of a ReplicaSet; the server makes the end of its name."""
    template = replica_set.spec.template
    if template is None:
        raise ValueError(f"Making a pod for ReplicaSet {key_of(replica_set)}: it has no template")
    inherited = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{key_of(replica_set).name}-",
            namespace=key_of(replica_set).namespace,
            labels=inherited.labels,
            annotations=inherited.annotations,
            finalizers=inherited.finalizers,
            ownerReferences=[owner_reference(replica_set)],
        ),
        spec=template.spec,
    )


def replica_set_status(replica_set: ReplicaSet, active: list[Pod], *, now: datetime) -> ReplicaSetStatus:
    """What ``.status`` should say of these pods; counts of zero are left out but ``replicas``."""
    spec = replica_set.spec
    wait = timedelta(seconds=spec.minReadySeconds or 0)
    labels = _template_labels(replica_set).items()
    since = [moment for pod in active if (moment := ready_since(pod)) is not None]
    return ReplicaSetStatus(
        replicas=len(active),
        fullyLabeledReplicas=sum(labels <= (metadata_of(pod).labels or {}).items() for pod in active) or None,
        readyReplicas=len(since) or None,
        # A moment that is still to come is one from before the clock was set back.
        availableReplicas=sum(moment + wait <= now or moment > now for moment in since) or None,
        observedGeneration=metadata_of(replica_set).generation,
    )


def _template_labels(replica_set: ReplicaSet) -> dict[str, str]:
    template = replica_set.spec.template
    labels = template.metadata.labels if template is not None and template.metadata is not None else None
    return labels or {}
