"""The objects of an informer by something else than their key, such as EndpointSlices by the Service they belong to.

A reconcile that looks for them among all objects of a namespace makes a thousand Services cost a million looks.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from isthmus.lab.client.informer import Informer
from isthmus.lab.client.objects import KubeObject, ObjectKey

T = TypeVar("T", bound=KubeObject)
K = TypeVar("K", bound=Hashable)


class Index(Generic[K, T]):
    """``key_of`` says under which key an object is found, None for nowhere; it must depend on the object alone."""

    def __init__(self, informer: Informer[T], key_of: Callable[[T], K | None]) -> None:
        """Index what is known, and follow it."""
        self._key_of = key_of
        self._found: dict[K, dict[ObjectKey, T]] = {}
        informer.subscribe(self._follow)

    def get(self, key: K) -> list[T]:
        """The objects under the key, in the order in which they became known."""
        return list(self._found.get(key, {}).values())

    def _follow(self, name: ObjectKey, old: T | None, new: T | None) -> None:
        before = self._key_of(old) if old is not None else None
        after = self._key_of(new) if new is not None else None
        if before is not None and before != after:
            self._drop(before, name)
        if after is not None and new is not None:
            self._found.setdefault(after, {})[name] = new

    def _drop(self, key: K, name: ObjectKey) -> None:
        bucket = self._found.get(key, {})
        bucket.pop(name, None)
        if not bucket:
            self._found.pop(key, None)
