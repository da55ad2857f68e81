"""The objects of one kind as last seen, by key, and who wants to know of changes.

A store does no I/O: a reflector writes it, everyone else reads. Nobody may change an object that is in it.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from lightkube.models.meta_v1 import ObjectMeta


class KubeObject(Protocol):
    """What every object of the API has."""

    @property
    def metadata(self) -> ObjectMeta | None:
        """Name, namespace, labels and so on."""


T = TypeVar("T", bound=KubeObject)
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object of a kind. ``namespace`` is empty for a kind that is not in namespaces."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What became of one object: ``old`` is None if it is new, ``new`` is None if it is gone."""

    key: ObjectKey
    old: T | None
    new: T | None


Subscriber = Callable[[Change[T]], None]


def metadata_of(obj: KubeObject) -> ObjectMeta:
    """Return the metadata, which every object that the API server returned has; ValueError if it has none."""
    if obj.metadata is None:
        raise ValueError(f"{type(obj).__name__} without metadata: it did not come from an API server")
    return obj.metadata


def key_of(obj: KubeObject) -> ObjectKey:
    """Return the key of an object. ValueError if it has no metadata."""
    metadata = metadata_of(obj)
    return ObjectKey(metadata.namespace or "", metadata.name or "")


class Store(Generic[T]):
    """The objects of one kind as last seen.

    ``synced`` is set once everything was seen; wait for it before concluding that something is not there.
    ``stale_since`` is the moment since when the API server could not be followed, None while it can; the objects stay.
    ``rejected`` holds the keys of objects that are on the server, but that their kind does not allow, and why: they
    must not be taken for deleted. What was known of them before stays.
    """

    def __init__(self, trim: Callable[[T], T] = lambda obj: obj) -> None:
        """Make an empty store that is not synced. trim: makes of an object what is kept of it."""
        self._trim = trim
        self._objects: dict[ObjectKey, T] = {}
        self._subscribers: list[Subscriber[T]] = []
        self.synced = asyncio.Event()
        self.stale_since: datetime | None = None
        self.rejected: dict[ObjectKey, str] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: ObjectKey) -> T | None:
        """Return the object, or None."""
        return self._objects.get(key)

    def keys(self) -> Collection[ObjectKey]:
        """Return the keys of all objects; a live view."""
        return self._objects.keys()

    def values(self) -> Collection[T]:
        """Return all objects; a live view."""
        return self._objects.values()

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Call ``subscriber`` with each change from now on, and at once with what is there, as if it were new.

        It is called in the event loop, must not block, and sees the store as it is after the change. An error that it
        raises ends the reflector. Returns the function that ends the subscription.
        """
        self._subscribers.append(subscriber)
        for key, obj in list(self._objects.items()):
            subscriber(Change(key, None, obj))
        return lambda: self._subscribers.remove(subscriber)

    def put(self, obj: T) -> None:
        """Take in an object; nothing happens if that version of it is there already."""
        key = key_of(obj)
        self.rejected.pop(key, None)
        old = self._objects.get(key)
        if old is not None and _version(old) == _version(obj):
            return
        new = self._objects[key] = self._trim(obj)
        self._tell(Change(key, old, new))

    def remove(self, key: ObjectKey) -> None:
        """Forget an object; nothing happens if it is not there."""
        self.rejected.pop(key, None)
        old = self._objects.pop(key, None)
        if old is not None:
            self._tell(Change(key, old, None))

    def reject(self, key: ObjectKey, why: str) -> None:
        """Remember that an object of that key is there, but cannot be understood."""
        self.rejected[key] = why

    def retain(self, keys: Collection[ObjectKey]) -> None:
        """Forget every object but these: the end of a list."""
        for key in [key for key in (*self._objects, *self.rejected) if key not in keys]:
            self.remove(key)

    def _tell(self, change: Change[T]) -> None:
        for subscriber in list(self._subscribers):
            subscriber(change)


def _version(obj: KubeObject) -> str | None:
    """No two versions of the objects of a kind have the same, nor have two objects that had one name in turn."""
    return metadata_of(obj).resourceVersion


class Index(Generic[K, T]):
    """The objects of a store by something else than their key, such as EndpointSlices by Service.

    ``keys_of`` says under which keys an object is found; it must depend on nothing but the object.
    """

    def __init__(self, store: Store[T], keys_of: Callable[[T], Iterable[K]]) -> None:
        """Index what is in the store, and follow it."""
        self._keys_of = keys_of
        self._buckets: dict[K, tuple[T, ...]] = {}
        """Tuples, since most hold one object, and there are as many as objects."""
        store.subscribe(self._follow)

    def get(self, key: K) -> list[T]:
        """Return the objects under the key, in the order of their names."""
        return sorted(self._buckets.get(key, ()), key=key_of)

    def _follow(self, change: Change[T]) -> None:
        for key in self._keys_of(change.old) if change.old is not None else ():
            self._drop(key, change.key)
        for key in self._keys_of(change.new) if change.new is not None else ():
            if change.new is not None:
                self._buckets[key] = (*self._buckets.get(key, ()), change.new)

    def _drop(self, key: K, name: ObjectKey) -> None:
        others = tuple(each for each in self._buckets.get(key, ()) if key_of(each) != name)
        if others:
            self._buckets[key] = others
        else:
            self._buckets.pop(key, None)
