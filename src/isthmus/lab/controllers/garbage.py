"""Garbage collection by owner references: dependents go when all their owners are gone.

Source: Kubernetes documentation, "Garbage Collection", "Owners and Dependents": background deletion, and foreground
and orphan deletion by the owner's finalizers. Works on every kind the server has, custom resources included.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx2
import msgspec
import structlog
from lightkube import AsyncClient
from lightkube.core import resource as lightkube_resource
from lightkube.models.meta_v1 import OwnerReference
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

from isthmus.lab.client import Informer, Informers, ObjectKey, ReconcileLoop
from isthmus.lab.client.discovery import ApiResource, discover
from isthmus.lab.controllers.owned import (
    FOREGROUND,
    ORPHAN,
    Owned,
    Standing,
    blocks,
    finalizers,
    owners,
    policy_of,
    standing,
)

log = structlog.get_logger()

NOT_COLLECTED = {"Event"}  # nobody owns them, and there are many
VIEWS = {("project.openshift.io", "Project")}  # of what is followed as Namespaces already
MERGE = {"Content-Type": "application/merge-patch+json"}
AGAIN_S = 0.2


class Item(NamedTuple):
    """One object: the resource it is of, and its key."""

    resource: ApiResource
    key: ObjectKey

    @property
    def path(self) -> str:
        """Where the server has it."""
        return self.resource.path(self.key.namespace, self.key.name)


@dataclass(frozen=True, slots=True)
class Watched:
    """One kind that is being followed: by a task of ours, or (None) because somebody follows it anyway."""

    informer: Informer[Any]
    task: asyncio.Task[None] | None


class GarbageCollector:
    """Follows every kind, most of them by their metadata only, and deletes what no longer has an owner."""

    def __init__(self, client: AsyncClient, informers: Informers, *, http: httpx2.AsyncClient) -> None:
        self._client = client
        self._informers = informers
        self._http = http
        self._watched: dict[ApiResource, Watched] = {}
        self._uids: dict[str, Item] = {}
        self._dependents: defaultdict[str, set[Item]] = defaultdict(set)
        self._loop = ReconcileLoop[Item]("garbage", self._reconcile)
        self._kinds_changed = asyncio.Event()
        definitions = informers.of(CustomResourceDefinition)
        definitions.subscribe(lambda _key, _old, _new: self._kinds_changed.set())

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="collect garbage")
            while True:
                try:
                    await self._follow(group)
                except httpx2.HTTPError as error:
                    log.info("discovery failed", error=str(error))
                    self._kinds_changed.set()
                    await asyncio.sleep(AGAIN_S)
                await self._kinds_changed.wait()
                self._kinds_changed.clear()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Begin to follow the kinds that are new, let go of those that the server no longer has."""
        served = {r for r in await discover(self._http) if collected(r)}
        for resource in self._watched.keys() - served:
            if (task := self._watched.pop(resource).task) is not None:
                task.cancel()
        for resource in sorted(served - self._watched.keys(), key=lambda r: (r.group, r.plural)):
            watched = self._watched[resource] = self._watch(resource, group)
            watched.informer.subscribe(lambda key, old, new, r=resource: self._changed(Item(r, key), old, new))  # type: ignore[misc]  # mypy does not see the default

    def _watch(self, resource: ApiResource, group: asyncio.TaskGroup) -> Watched:
        shared = self._informers.existing(definition_of(resource))
        if shared is not None:
            return Watched(informer=shared, task=None)
        selection = {"namespace": "*"} if resource.namespaced else {}
        informer = Informer(self._client, metadata_class(resource), selection=selection)
        task = group.create_task(informer.run(), name=f"follow owners of {resource.plural}")
        return Watched(informer=informer, task=task)

    def _changed(self, item: Item, old: Owned | None, new: Owned | None) -> None:
        for owner in owners(old):
            self._dependents[owner.uid].discard(item)
        for owner in owners(new):
            self._dependents[owner.uid].add(item)
            if owner.uid in self._uids:
                self._loop.add(self._uids[owner.uid])  # an owner that waits for its dependents must look again
        self._remember(item, old, new)
        if new is not None and (owners(new) or new.metadata.deletionTimestamp):
            self._loop.add(item)

    def _remember(self, item: Item, old: Owned | None, new: Owned | None) -> None:
        if new is not None:
            self._uids[new.metadata.uid] = item
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._uids.pop(old.metadata.uid, None)
            for dependent in self._dependents.pop(old.metadata.uid, set()):
                self._loop.add(dependent)
            for owner in owners(old):
                if owner.uid in self._uids:
                    self._loop.add(self._uids[owner.uid])

    def _seen(self, item: Item) -> Owned | None:
        watched = self._watched.get(item.resource)
        obj: Owned | None = watched.informer.get(item.key) if watched else None
        return obj

    async def _reconcile(self, item: Item) -> None:
        obj = self._seen(item)
        if obj is None:
            return
        if obj.metadata.deletionTimestamp is None:
            await self._judge(item, obj)
        elif not all(watched.informer.synced.is_set() for watched in self._watched.values()):
            self._loop.add_after(AGAIN_S, item)  # who depends on it is not known yet
        elif ORPHAN in finalizers(obj):
            await self._orphan(item, obj)
        elif FOREGROUND in finalizers(obj):
            await self._delete_foreground(item, obj)

    async def _judge(self, item: Item, obj: Owned) -> None:
        """Keep what has an owner that stays, without the owners that don't; delete what has none of them."""
        standings = {owner.uid: await self._standing(owner, item.key.namespace) for owner in owners(obj)}
        leaving = {uid for uid, standing in standings.items() if standing is not Standing.STAYS}
        if not leaving:
            return
        if len(leaving) < len(standings):
            await self._disown(item, leaving)
            return
        waited_for = Standing.WAITS in standings.values() and bool(self._dependents.get(obj.metadata.uid))
        log.info("owners are gone", kind=item.resource.kind, key=str(item.key))
        await self._delete(item, obj, policy="Foreground" if waited_for else policy_of(obj))

    async def _standing(self, owner: OwnerReference, namespace: str) -> Standing:
        known = self._uids.get(owner.uid)
        if known is not None and (obj := self._seen(known)) is not None:
            return standing(obj)
        kinds = (r for r in self._watched if r.kind == owner.kind and r.group == _group(owner.apiVersion))
        resource = next(kinds, None)
        if resource is None:  # a kind that is not followed (yet): when in doubt nothing is deleted
            return Standing.STAYS
        # The local copy may be behind: only the server's own word is enough to delete something.
        answer = await self._http.get(resource.path(namespace if resource.namespaced else "", owner.name))
        if answer.status_code == 404:
            return Standing.GONE
        answer.raise_for_status()
        found = msgspec.json.decode(answer.content, type=Owned)
        return standing(found) if found.metadata.uid == owner.uid else Standing.GONE

    async def _orphan(self, item: Item, obj: Owned) -> None:
        """Free the dependents of a deleted owner, then let it go."""
        dependents = list(self._dependents.get(obj.metadata.uid, ()))
        freed = [await self._disown(dependent, {obj.metadata.uid}) for dependent in dependents]
        if all(freed):
            await self._let_go(item, obj)
        else:
            self._loop.add_after(AGAIN_S, item)

    async def _delete_foreground(self, item: Item, obj: Owned) -> None:
        """Let a deleted owner go once nothing is left that holds it; until then, see to what depends on it."""
        dependents = list(self._dependents.get(obj.metadata.uid, ()))
        for dependent in dependents:
            self._loop.add(dependent)
        if not any(blocks(self._seen(dependent), obj.metadata.uid) for dependent in dependents):
            await self._let_go(item, obj)

    async def _let_go(self, item: Item, obj: Owned) -> None:
        left = [one for one in finalizers(obj) if one not in (FOREGROUND, ORPHAN)]
        await self._patch(item, {"finalizers": left, "resourceVersion": obj.metadata.resourceVersion})

    async def _disown(self, dependent: Item, uids: set[str]) -> bool:
        """Take owners away from an object; False if it has changed meanwhile."""
        obj = self._seen(dependent)
        if obj is None:
            return True
        left = [msgspec.to_builtins(owner) for owner in owners(obj) if owner.uid not in uids]
        version = obj.metadata.resourceVersion
        return await self._patch(dependent, {"ownerReferences": left, "resourceVersion": version})

    async def _delete(self, item: Item, obj: Owned, *, policy: str) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": policy,
            "preconditions": {"uid": obj.metadata.uid},
        }
        answer = await self._http.request("DELETE", item.path, json=options)
        if answer.status_code not in (200, 202, 404, 409):
            answer.raise_for_status()

    async def _patch(self, item: Item, metadata: dict[str, Any]) -> bool:
        """Change an object's metadata; False if it has changed meanwhile: then it is looked at again."""
        content = msgspec.json.encode({"metadata": metadata})
        answer = await self._http.patch(item.path, content=content, headers=MERGE)
        if answer.status_code == 409:
            self._loop.add_after(AGAIN_S, item)
            return False
        if answer.status_code not in (200, 404):
            answer.raise_for_status()
        return True


def collected(resource: ApiResource) -> bool:
    """Whether objects of a kind can have owners that are looked after here."""
    if (resource.group, resource.kind) in VIEWS or resource.kind in NOT_COLLECTED:
        return False
    return {"list", "watch", "delete"} <= resource.verbs


def definition_of(resource: ApiResource) -> lightkube_resource.ResourceDef:
    """A kind as lightkube names it."""
    return lightkube_resource.ResourceDef(resource.group, resource.version, resource.kind)


def metadata_class(resource: ApiResource) -> type[Any]:
    """A lightkube resource class for a kind of which only the metadata is to be decoded."""
    base: type[Any] = (
        lightkube_resource.NamespacedResourceG if resource.namespaced else lightkube_resource.GlobalResource
    )
    verbs = ["list", "watch", "global_list", "global_watch"]
    api_info = lightkube_resource.ApiInfo(resource=definition_of(resource), plural=resource.plural, verbs=verbs)
    return type(f"{resource.kind}Metadata", (base, Owned), {"_api_info": api_info})


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
