"""What an API server sends, decoded: pages of a list and events of a watch. Pure.

Each object is decoded by itself, so that one that its type does not allow cannot hide the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from lightkube.core.resource import NamespacedResource, ResourceDef, api_info

from isthmus.kube.errors import Unavailable, error_of
from isthmus.kube.store import KubeObject, ObjectKey, key_of, metadata_of

T = TypeVar("T", bound=KubeObject)

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one event: an object may have 1.5 MiB in etcd, and JSON is longer than protobuf."""


@dataclass(frozen=True, slots=True)
class Decoded(Generic[T]):
    """An object of the right kind."""

    object: T

    @property
    def key(self) -> ObjectKey:
        """Its key."""
        return key_of(self.object)

    @property
    def version(self) -> str:
        """Its resource version."""
        return metadata_of(self.object).resourceVersion or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """An object of which no more than its metadata can be understood, and why."""

    key: ObjectKey
    version: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list. ``next`` is the token for the next page, empty for the last; ``version`` is the list's."""

    items: list[Decoded[T] | Undecodable]
    version: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T]):
    """One event of a watch. Of a bookmark only the version means something."""

    type: str
    item: Decoded[T] | Undecodable


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""  # noqa: N815 -- the name on the wire


class _Head(msgspec.Struct):
    metadata: _Meta


class _ListMeta(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815 -- the name on the wire
    token: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 500
    message: str = ""
    reason: str = ""


class Wire(Generic[T]):
    """Decodes what the server sends about one kind."""

    def __init__(self, resource: type[T]) -> None:
        """Prepare the decoders of the kind."""
        self._object = msgspec.json.Decoder(resource)
        self._list = msgspec.json.Decoder(_List)
        self._event = msgspec.json.Decoder(_Event)
        self._head = msgspec.json.Decoder(_Head)

    def page(self, body: bytes) -> Page[T]:
        """Decode one page of a list. Raises Unavailable if it is not a list."""
        try:
            listed = self._list.decode(body)
            items = [self._item(raw) for raw in listed.items or ()]
        except msgspec.MsgspecError as error:
            raise Unavailable(f"cannot read a list: the answer is not what the API promises: {error}") from error
        return Page(items=items, version=listed.metadata.resourceVersion, next=listed.metadata.token)

    def event(self, line: bytes, *, doing: str) -> Event[T]:
        """Decode one event of a watch.

        Raises the KubeError that an ERROR event stands for, and Unavailable if it is not an event.
        """
        try:
            event = self._event.decode(line)
            if event.type == "ERROR":
                status = msgspec.json.decode(event.object, type=_Status)
                raise error_of(status.code, status.message, doing=doing, reason=status.reason)
            # A bookmark is an object of the kind with nothing in it, which the kind itself may not allow.
            item = self._bare(event.object) if event.type == "BOOKMARK" else self._item(event.object)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"cannot {doing}: the answer is not what the API promises: {error}") from error
        return Event(type=event.type, item=item)

    def _item(self, raw: msgspec.Raw) -> Decoded[T] | Undecodable:
        try:
            obj = self._object.decode(raw)
        except msgspec.ValidationError as error:
            return self._bare(raw, str(error))
        return Decoded(obj) if obj.metadata is not None else self._bare(raw)

    def _bare(self, raw: msgspec.Raw, why: str = "") -> Undecodable:
        metadata = self._head.decode(raw).metadata
        return Undecodable(key=ObjectKey(metadata.namespace, metadata.name), version=metadata.resourceVersion, why=why)


_VERSION = msgspec.json.Decoder(_Head)


def version_of(body: bytes) -> str:
    """Return the resource version of an object. Raises MsgspecError if it is none."""
    return _VERSION.decode(body).metadata.resourceVersion


class Lines:
    """Cuts a stream of bytes into lines at LF, and at nothing else that Unicode takes for the end of a line."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take in bytes and give the lines that are complete. Raises Unavailable for one that is too long."""
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            whole = b"".join((*self._rest, line))
            self._rest, self._length = [], 0
            if whole.strip():
                yield whole
        self._rest.append(rest)
        self._length += len(rest)
        if self._length > LONGEST_LINE:
            raise Unavailable(f"cannot read a watch: an event has more than {LONGEST_LINE} bytes")


def collection_path(resource: type[Any], *, namespace: str | None = None) -> str:
    """Return the path of a kind's collection: of one namespace, or of all if it is None.

    Raises ValueError if a namespace is given for a kind that is not in namespaces.
    """
    info = api_info(resource)
    definition: ResourceDef = info.resource
    root = f"apis/{definition.group}/{definition.version}" if definition.group else f"api/{definition.version}"
    if namespace is None:
        return f"/{root}/{info.plural}"
    if not issubclass(resource, NamespacedResource):
        raise ValueError(f"cannot list {info.plural} of namespace {namespace!r}: they are not in namespaces")
    return f"/{root}/namespaces/{namespace}/{info.plural}"
