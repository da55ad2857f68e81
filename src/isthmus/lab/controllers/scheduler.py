"""The scheduler: gives each pod that has no node yet to the ready node with the fewest pods."""

from collections import Counter

from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod, PodBinding
from lightkube.types import PatchType

from isthmus.lab.client import EventRecorder, Informers, ObjectKey, ReconcileLoop, absent, conflict, key_of, metadata_of

DEFAULT_SCHEDULER = "default-scheduler"


class Scheduler:
    """Binds pods. Resources, affinities and taints are not looked at: the lab's nodes are one machine."""

    def __init__(self, client: AsyncClient, informers: Informers) -> None:
        self._client = client
        self._pods = informers.of(Pod)
        self._nodes = informers.of(Node)
        self._events = EventRecorder(client, component=DEFAULT_SCHEDULER)
        self._loop = ReconcileLoop[ObjectKey]("scheduler", self._reconcile)
        self._pods.subscribe(lambda key, _old, new: self._loop.add(key) if _waits(new) else None)
        self._nodes.subscribe(lambda _key, _old, _new: self._all_waiting())

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _all_waiting(self) -> None:
        for pod in self._pods:
            if _waits(pod):
                self._loop.add(key_of(pod))

    async def _reconcile(self, key: ObjectKey) -> None:
        pod = self._pods.get(key)
        if pod is None or not _waits(pod):
            return
        node = choose_node(list(self._nodes), list(self._pods), selector=(pod.spec.nodeSelector if pod.spec else None))
        if node is None:
            message = f"0/{len(self._nodes)} nodes are available: none is ready and has the labels asked for."
            await self._events.record(pod, reason="FailedScheduling", message=message, warning=True)
            return
        await self._bind(pod, node)

    async def _bind(self, pod: Pod, node: str) -> None:
        key = key_of(pod)
        binding = PodBinding(
            metadata=ObjectMeta(name=key.name, namespace=key.namespace, uid=metadata_of(pod).uid),
            target=ObjectReference(apiVersion="v1", kind="Node", name=node),
        )
        try:
            await self._client.create(binding, key.name, namespace=key.namespace)
        except ApiError as error:
            if absent(error):  # the pod is gone, or the server has no such subresource
                await self._assign(pod, node)
            elif not conflict(error):  # bound by someone else
                raise
        message = f"Successfully assigned {key} to {node}"
        await self._events.record(pod, reason="Scheduled", message=message)

    async def _assign(self, pod: Pod, node: str) -> None:
        key = key_of(pod)
        patch = {"metadata": {"uid": metadata_of(pod).uid}, "spec": {"nodeName": node}}
        try:
            await self._client.patch(Pod, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE)
        except ApiError as error:
            if not (absent(error) or conflict(error)):
                raise


def _waits(pod: Pod | None) -> bool:
    if pod is None or pod.spec is None or metadata_of(pod).deletionTimestamp:
        return False
    ours = (pod.spec.schedulerName or DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER
    return ours and not pod.spec.nodeName and not pod.spec.schedulingGates


def choose_node(nodes: list[Node], pods: list[Pod], *, selector: dict[str, str] | None) -> str | None:
    """The ready, schedulable node with the labels asked for that has the fewest pods, by name where equal."""
    load = Counter(pod.spec.nodeName for pod in pods if pod.spec)
    fit = [
        key_of(node).name
        for node in nodes
        if _ready(node) and (selector or {}).items() <= (metadata_of(node).labels or {}).items()
    ]
    return min(fit, key=lambda name: (load[name], name), default=None)


def _ready(node: Node) -> bool:
    conditions = (node.status.conditions if node.status else None) or []
    cordoned = bool(node.spec and node.spec.unschedulable)
    return not cordoned and any(c.type == "Ready" and c.status == "True" for c in conditions)
