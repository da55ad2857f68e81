"""A local copy of all objects of one kind, kept by list and watch (API concepts, "Efficient detection of changes").

An :class:`Informer` lists once, watches from the list's resource version, resumes after a lost connection, and lists
again when the server answers 410. Callbacks tell *who* changed; the store says what is.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar, cast

import httpx2
import msgspec
import structlog
from lightkube import ApiError, AsyncClient
from lightkube.core.resource import NamespacedResourceG, ResourceDef, api_info

from isthmus.lab.client.objects import KubeObject, ObjectKey, expired, key_of, metadata_of

log = structlog.get_logger()

T = TypeVar("T", bound=KubeObject)
Subscriber = Callable[[ObjectKey, T | None, T | None], None]

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0


class ListWatch(Protocol):
    """What is needed of a client; lightkube's AsyncClient is one."""

    list: Any
    watch: Any


def _version(obj: KubeObject) -> int:
    # Resource versions are comparable as numbers since Kubernetes 1.35 (API concepts, "Resource versions").
    return int(metadata_of(obj).resourceVersion or 0)


class Informer(Generic[T]):
    """The objects of one kind as last seen. Only :meth:`run` does I/O."""

    def __init__(self, client: AsyncClient, resource: type[T], *, selection: dict[str, Any] | None = None) -> None:
        """Prepare; nothing is asked of the server before :meth:`run`.

        selection: lightkube's keyword arguments for list and watch (``namespace``, ``fields``, ``labels``).
        """
        self._client = cast("ListWatch", client)
        self._resource = resource
        self._selection = selection or {}
        self._objects: dict[ObjectKey, T] = {}
        self._by_namespace: dict[str, dict[ObjectKey, T]] = {}
        self._subscribers: list[Subscriber[T]] = []
        self._passed = 0
        self.synced = asyncio.Event()

    def get(self, key: ObjectKey) -> T | None:
        """The object of that key, or None."""
        return self._objects.get(key)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def namespace(self, name: str) -> list[T]:
        """All objects of one namespace."""
        return list(self._by_namespace.get(name, {}).values())

    def subscribe(self, subscriber: Subscriber[T]) -> None:
        """Call ``subscriber(key, old, new)`` after each change, and at once for what is known; it must not block."""
        self._subscribers.append(subscriber)
        for key, obj in list(self._objects.items()):
            subscriber(key, None, obj)

    def observe(self, obj: T) -> None:
        """Take in an object that a write has just returned, so that one's own writes are read back at once.

        Ignored if the watch has already passed its version: the stream knows better then.
        """
        current = self._objects.get(key_of(obj))
        if _version(obj) > max(self._passed, _version(current) if current else 0):
            self._put(obj)

    async def run(self) -> None:
        """Keep the copy until cancelled. Errors of the connection are retried for ever, with back-off."""
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._watch(await self._list())
                delay_s = FIRST_RETRY_S
            except ApiError as error:
                if not expired(error):
                    log.info("list or watch refused", resource=self._resource.__name__, error=str(error))
                    await asyncio.sleep(delay_s)
                    delay_s = min(delay_s * 2, LONGEST_RETRY_S)
            except msgspec.MsgspecError as error:
                log.info("object not understood", resource=self._resource.__name__, error=str(error))
                await asyncio.sleep(LONGEST_RETRY_S)
            except (httpx2.HTTPError, OSError) as error:
                log.debug("watch interrupted", resource=self._resource.__name__, error=repr(error))
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LONGEST_RETRY_S)

    async def _list(self) -> str:
        listed = self._client.list(self._resource, **self._selection)
        found: dict[ObjectKey, T] = {key_of(obj): obj async for obj in listed}
        version = str(listed.resourceVersion)
        self._passed = int(version)
        for key in self._objects.keys() - found.keys():
            self._drop(key)
        for obj in found.values():
            self._put(obj)
        self.synced.set()
        return version

    async def _watch(self, version: str) -> None:
        async for kind, obj in self._client.watch(self._resource, resource_version=version, **self._selection):
            self._passed = max(self._passed, _version(obj))
            if kind == "DELETED":
                self._drop(key_of(obj))
            elif kind in ("ADDED", "MODIFIED"):
                self._put(obj)

    def _put(self, obj: T) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and _version(old) >= _version(obj):
            return
        self._objects[key] = obj
        self._by_namespace.setdefault(key.namespace, {})[key] = obj
        self._tell(key, old, obj)

    def _drop(self, key: ObjectKey) -> None:
        old = self._objects.pop(key, None)
        self._by_namespace.get(key.namespace, {}).pop(key, None)
        if old is not None:
            self._tell(key, old, None)

    def _tell(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        for subscriber in self._subscribers:
            subscriber(key, old, new)


class Informers:
    """One informer a kind, shared by all parts of a process."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._informers: dict[type[Any], Informer[Any]] = {}

    def of(self, resource: type[T]) -> Informer[T]:
        """The informer of a kind; must be asked for before :meth:`run`."""
        if resource not in self._informers:
            namespaced = issubclass(resource, NamespacedResourceG)
            selection = {"namespace": "*"} if namespaced else {}
            self._informers[resource] = Informer(self._client, resource, selection=selection)
        return self._informers[resource]

    def existing(self, definition: ResourceDef) -> Informer[Any] | None:
        """The informer of a kind by its group, version and name, if there is one."""
        found = (one for resource, one in self._informers.items() if api_info(resource).resource == definition)
        return next(found, None)

    async def wait_synced(self) -> None:
        """Wait until every kind has been listed once."""
        for informer in list(self._informers.values()):
            await informer.synced.wait()

    async def run(self) -> None:
        """Keep all copies until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource, informer in self._informers.items():
                group.create_task(informer.run(), name=f"watch {resource.__name__}")
