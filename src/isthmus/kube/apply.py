"""From what is there to what should be: a pure plan, and the few requests that carry it out.

Objects are written by server-side apply under our field manager (Kubernetes, "Server-Side Apply"), so that fields that
others own stay. What was applied is remembered as a digest in an annotation: it tells a field that we no longer want
from one that someone else added.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec
from lightkube.core.resource import NamespacedResource, api_info
from lightkube.types import CascadeType

from isthmus.kube.client import Client
from isthmus.kube.errors import NotFound, translated
from isthmus.kube.store import KubeObject, ObjectKey, key_of, metadata_of

APPLIED = "isthmus.io/applied"
"""Annotation: the digest of the object as it was applied."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Which object of all kinds."""

    kind: str
    group: str
    key: ObjectKey

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


@dataclass(frozen=True, slots=True)
class Apply:
    """The object is to be as it is here."""

    object: Any


@dataclass(frozen=True, slots=True)
class Delete:
    """The object is to be gone."""

    object: Any


Write = Apply | Delete


def identity_of(obj: KubeObject) -> Identity:
    """Return which object it is."""
    kind: Any = type(obj)
    definition = api_info(kind).resource
    return Identity(definition.kind, definition.group, key_of(obj))


def plan(observed: Iterable[KubeObject], desired: Iterable[KubeObject]) -> list[Write]:
    """Say what to write: what is desired and not so, in the order given, then what is there and not desired.

    observed: all objects that are ours, whether desired or not. Deletions come in the reverse of their order.
    """
    there = {identity_of(obj): obj for obj in observed}
    wanted = {identity_of(obj): stamped(obj) for obj in desired}
    writes: list[Write] = [Apply(obj) for name, obj in wanted.items() if not _satisfied(there.get(name), obj)]
    return writes + [Delete(obj) for name, obj in reversed(there.items()) if name not in wanted]


def stamped(obj: KubeObject) -> KubeObject:
    """Return a copy of the object that carries the digest of the object."""
    digest = hashlib.sha256(msgspec.json.encode(obj, order="deterministic")).hexdigest()[:16]
    copy = msgspec.convert(msgspec.to_builtins(obj), type(obj))
    metadata = metadata_of(copy)
    metadata.annotations = {**(metadata.annotations or {}), APPLIED: digest}
    return copy


def _satisfied(observed: KubeObject | None, wanted: KubeObject) -> bool:
    return observed is not None and contains(msgspec.to_builtins(observed), msgspec.to_builtins(wanted))


def contains(observed: Any, wanted: Any) -> bool:
    """Say whether everything in the JSON value ``wanted`` is in ``observed``, which may have more fields.

    Lists must be of the same length, since an API server fills in fields, but not items.
    """
    match observed, wanted:
        case dict(), dict():
            return all(name in observed and contains(observed[name], value) for name, value in wanted.items())
        case list(), list():
            return len(observed) == len(wanted) and all(map(contains, observed, wanted))
    return bool(observed == wanted)


async def carry_out(
    client: Client, writes: Iterable[Write], *, applied: Callable[[str], object] = lambda _: None
) -> None:
    """Write, in order. Raises the KubeError of the first write that fails; deleting what is gone does not fail.

    applied: told the resource version of each object once it is applied, by which its event can be known.
    """
    for write in writes:
        match write:
            case Apply(obj):
                applied(await client.apply(obj, doing=f"apply {identity_of(obj)}"))
            case Delete(obj):
                await _delete(client, obj)
            case _:
                assert_never(write)


async def _delete(client: Client, obj: Any) -> None:
    key = key_of(obj)
    kind: Any = type(obj)
    # lightkube takes a namespace only for kinds that are in namespaces.
    where: dict[str, Any] = {"namespace": key.namespace} if issubclass(kind, NamespacedResource) else {}
    try:
        with translated(f"delete {identity_of(obj)}"):
            await client.api.delete(kind, key.name, cascade=CascadeType.BACKGROUND, **where)
    except NotFound:
        return
