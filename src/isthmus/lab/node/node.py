"""The node: announces itself, runs the pods that are bound to it, and writes their status.

It is a client of an API server like any other. Where it differs from a kubelet is documented where it does: no mount
namespace (``mounts``), quicker probes (``probes``) and restarts (``restart``), images that are not pulled
(``environment``). Containers run as the user who runs the node, and nothing isolates them from each other: what a pod
may do is limited by its service account at the API server, not on this machine.
"""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx2
import structlog
from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import PodStatus
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret
from lightkube.types import PatchType

from isthmus.lab.client import EventRecorder, Informers, ObjectKey, ReconcileLoop, absent, key_of, metadata_of
from isthmus.lab.client.status import status_patch
from isthmus.lab.node.addresses import AddressPool
from isthmus.lab.node.events import PodEvents
from isthmus.lab.node.files import Cluster
from isthmus.lab.node.heartbeat import Heartbeat
from isthmus.lab.node.logs import LogStore
from isthmus.lab.node.pod import Host, PodWorker
from isthmus.lab.node.processes import ProcessHost

log = structlog.get_logger()

STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node is.

    folder: where pods' files are kept; pods: the range that pod addresses come from; address: the node's own;
    log_port: where it serves logs, None if the API server has them at hand.
    """

    name: str
    folder: Path
    address: str
    pods: IPv4Network
    cluster: Cluster
    log_port: int | None = None


class _StoredObjects:
    """ConfigMaps and Secrets as the informers have them."""

    def __init__(self, informers: Informers) -> None:
        self._maps = informers.of(ConfigMap)
        self._secrets = informers.of(Secret)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return self._maps.get(ObjectKey(namespace, name))

    def secret(self, namespace: str, name: str) -> Secret | None:
        return self._secrets.get(ObjectKey(namespace, name))


class Node:
    """All pods of one node."""

    def __init__(
        self,
        client: AsyncClient,
        informers: Informers,
        *,
        http: httpx2.AsyncClient,
        logs: LogStore,
        settings: NodeSettings,
    ) -> None:
        self._client = client
        self._http = http
        self._settings = settings
        self._pods = informers.of(Pod)
        self._maps = informers.of(ConfigMap)
        self._secrets = informers.of(Secret)
        self._addresses = AddressPool(settings.pods)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes = ProcessHost(str(settings.folder))
        self._events = PodEvents(EventRecorder(client, component="kubelet", host=settings.name))
        self._host = Host(
            name=settings.name,
            address=settings.address,
            folder=settings.folder,
            cluster=settings.cluster,
            client=client,
            processes=self._processes,
            logs=logs,
            objects=_StoredObjects(informers),
            events=self._events,
        )
        self._status = ReconcileLoop[ObjectKey]("pod status", self._write_status, workers=8)
        self._heartbeat = Heartbeat(client, name=settings.name, address=settings.address, port=settings.log_port)
        self._stopping = asyncio.Event()
        self.ready = self._heartbeat.registered

    def stop(self) -> None:
        """Ask for an orderly end: pods get SIGTERM, and :meth:`run` returns when they are gone."""
        self._stopping.set()

    async def run(self) -> None:
        """Run pods until :meth:`stop` or cancellation. The informers must be running."""
        self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            service = [
                group.create_task(self._processes.run(started), name="processes"),
                group.create_task(self._status.run(), name="pod status"),
                group.create_task(self._events.run(), name="pod events"),
                group.create_task(self._heartbeat.run(), name="heartbeat"),
            ]
            await started
            self._reserve_addresses()
            self._remove_old_folders()
            async with asyncio.TaskGroup() as pods:
                self._follow(pods)
                await self._stopping.wait()
                for worker in self._workers.values():
                    worker.stop(grace_s=STOP_GRACE_S)
            await self._heartbeat.leave()
            for task in service:
                task.cancel()

    def _reserve_addresses(self) -> None:
        """What pods had before a restart of the node they keep."""
        for pod in self._ours():
            if pod.status is not None and pod.status.podIP:
                self._addresses.take(metadata_of(pod).uid or "", wish=pod.status.podIP)

    def _remove_old_folders(self) -> None:
        """Folders of pods that were deleted while the node was away."""
        known = {metadata_of(pod).uid for pod in self._pods}
        for folder in self._settings.folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def _ours(self) -> list[Pod]:
        return [pod for pod in self._pods if pod.spec is not None and pod.spec.nodeName == self._settings.name]

    def _follow(self, group: asyncio.TaskGroup) -> None:
        self._pods.subscribe(lambda _key, old, new: self._pod_changed(group, old, new))
        self._maps.subscribe(lambda key, _old, _new: self._sources_changed(key))
        self._secrets.subscribe(lambda key, _old, _new: self._sources_changed(key))

    def _sources_changed(self, key: ObjectKey) -> None:
        for worker in self._workers.values():
            if key_of(worker.pod).namespace == key.namespace:
                worker.sources_changed()

    def _pod_changed(self, group: asyncio.TaskGroup, old: Pod | None, new: Pod | None) -> None:
        if self._stopping.is_set():
            return
        if old is not None and (new is None or metadata_of(new).uid != metadata_of(old).uid):
            self._forget(old)
        if new is None or new.spec is None or new.spec.nodeName != self._settings.name:
            return
        uid = metadata_of(new).uid or ""
        worker = self._workers.get(uid)
        if worker is None:
            self._begin(group, new)
        elif metadata_of(new).deletionTimestamp:
            worker.pod = new
            worker.stop(grace_s=metadata_of(new).deletionGracePeriodSeconds)
            self._status.add(key_of(new))
        else:
            worker.pod = new
            worker.sources_changed()  # labels and annotations may be mounted

    def _begin(self, group: asyncio.TaskGroup, pod: Pod) -> None:
        uid, known = metadata_of(pod).uid or "", pod.status or PodStatus()
        if known.phase in ("Succeeded", "Failed") and not metadata_of(pod).deletionTimestamp:
            return
        address = self._addresses.take(uid, wish=known.podIP)
        worker = PodWorker(pod, host=self._host, address=address, changed=lambda w: self._status.add(key_of(w.pod)))
        self._workers[uid] = worker
        if metadata_of(pod).deletionTimestamp:
            worker.stop()
        self._tasks[uid] = group.create_task(self._work(worker), name=f"pod {key_of(pod)}")

    async def _work(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:  # the outermost frame of a pod: one pod's bug must not take the others with it
            log.exception("pod failed", pod=str(key_of(worker.pod)))
        finally:
            self._status.add(key_of(worker.pod))

    def _forget(self, pod: Pod) -> None:
        """The object is gone: whatever still runs of it goes at once."""
        uid = metadata_of(pod).uid or ""
        worker = self._workers.pop(uid, None)
        if worker is None:
            return
        worker.stop(grace_s=0)
        task = self._tasks.pop(uid)
        task.add_done_callback(lambda _task: self._release(worker))

    def _release(self, worker: PodWorker) -> None:
        self._addresses.release(worker.uid)
        worker.remove()

    async def _write_status(self, key: ObjectKey) -> None:
        pod = self._pods.get(key)
        worker = self._workers.get(metadata_of(pod).uid or "") if pod is not None else None
        if pod is None or worker is None:
            return
        now = datetime.now(UTC).replace(microsecond=0)
        known = pod.status or PodStatus()
        status = worker.status(known, now=now)
        status.observedGeneration = known.observedGeneration
        if (patch := status_patch(known, status)) is not None:
            patch["metadata"] = {"uid": worker.uid}
            await self._patch(key, patch)
        if worker.finished and metadata_of(pod).deletionTimestamp:
            await self._delete(key, worker.uid)

    async def _patch(self, key: ObjectKey, patch: dict[str, Any]) -> None:
        try:
            updated = await self._client.patch(
                Pod.Status, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
            )
        except ApiError as error:
            if not absent(error):
                raise
        else:
            self._pods.observe(Pod.from_dict(updated.to_dict()))  # type: ignore[arg-type]  # same model, read back

    async def _delete(self, key: ObjectKey, uid: str) -> None:
        """Nothing runs any more: let the server remove the object (pods, "Termination of Pods")."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": uid},
        }
        path = f"/api/v1/namespaces/{key.namespace}/pods/{key.name}"
        answer = await self._http.request("DELETE", path, json=options)
        if answer.status_code not in (200, 202, 404, 409):
            answer.raise_for_status()
