"""Namespaces: what each one has from the start, and the deletion of all it holds before it goes."""

from dataclasses import dataclass

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, ServiceAccount

from isthmus.lab.client import Informers, ObjectKey, ReconcileLoop, conflict, key_of, metadata_of
from isthmus.lab.client.discovery import ApiResource, discover

ROOT_CA = "kube-root-ca.crt"
AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class NamespaceSettings:
    """root_ca: the certificate (PEM) that pods need to verify the API server, as ``kube-root-ca.crt`` publishes it."""

    root_ca: str


class NamespaceController:
    """The default ServiceAccount and the root certificate of each namespace, and termination."""

    def __init__(
        self, client: AsyncClient, informers: Informers, *, http: httpx2.AsyncClient, settings: NamespaceSettings
    ) -> None:
        self._client = client
        self._http = http
        self._settings = settings
        self._namespaces = informers.of(Namespace)
        self._accounts = informers.of(ServiceAccount)
        self._maps = informers.of(ConfigMap)
        self._loop = ReconcileLoop[str]("namespace", self._reconcile)
        self._namespaces.subscribe(lambda key, _old, _new: self._loop.add(key.name))
        self._accounts.subscribe(lambda key, _old, _new: self._part_changed(key, "default"))
        self._maps.subscribe(lambda key, _old, _new: self._part_changed(key, ROOT_CA))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _part_changed(self, key: ObjectKey, name: str) -> None:
        if key.name == name:
            self._loop.add(key.namespace)

    async def _reconcile(self, name: str) -> None:
        namespace = self._namespaces.get(ObjectKey("", name))
        if namespace is None:
            return
        if metadata_of(namespace).deletionTimestamp:
            await self._terminate(namespace)
        else:
            await self._furnish(name)

    async def _furnish(self, namespace: str) -> None:
        if self._accounts.get(ObjectKey(namespace, "default")) is None:
            await self._create(ServiceAccount(metadata=ObjectMeta(name="default", namespace=namespace)))
        known = self._maps.get(ObjectKey(namespace, ROOT_CA))
        data = {"ca.crt": self._settings.root_ca}
        if known is None:
            await self._create(ConfigMap(metadata=ObjectMeta(name=ROOT_CA, namespace=namespace), data=data))
        elif known.data != data:
            known.data = data
            await self._client.replace(known)

    async def _create(self, obj: ServiceAccount | ConfigMap) -> None:
        try:
            await self._client.create(obj)
        except ApiError as error:
            if not conflict(error):
                raise

    async def _terminate(self, namespace: Namespace) -> None:
        name = key_of(namespace).name
        left = [resource for resource in await discover(self._http) if await self._sweep(resource, name)]
        if left:
            self._loop.add_after(AGAIN_S, name)
        elif namespace.spec is not None and namespace.spec.finalizers:
            await self._finalize(namespace)

    async def _sweep(self, resource: ApiResource, namespace: str) -> bool:
        """Delete what there is of one kind; True as long as something of it is there."""
        if not resource.namespaced or not {"delete", "list"} <= resource.verbs:
            return False
        path = resource.path(namespace)
        listed = await self._http.get(path)
        listed.raise_for_status()
        items = listed.json().get("items") or []
        for item in items:
            metadata = item["metadata"]
            if "deletionTimestamp" not in metadata:
                answer = await self._http.request("DELETE", resource.path(namespace, metadata["name"]))
                if answer.status_code not in (200, 202, 404, 409):
                    answer.raise_for_status()
        return bool(items)

    async def _finalize(self, namespace: Namespace) -> None:
        plain = namespace.to_dict()
        plain |= {"apiVersion": "v1", "kind": "Namespace"}
        plain["spec"]["finalizers"] = [f for f in plain["spec"]["finalizers"] if f != "kubernetes"]
        answer = await self._http.put(f"/api/v1/namespaces/{key_of(namespace).name}/finalize", json=plain)
        if answer.status_code not in (200, 404, 409):
            answer.raise_for_status()
