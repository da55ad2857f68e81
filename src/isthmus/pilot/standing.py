"""Serve: the statuses as they stand in the cluster, as last heard of, and how they are written.

Nothing is read before it is written: what the watch and the answers to our own writes tell is known, and if that is
old, the API server refuses the write, since it names the version that it was made for. Of the lists of the sets only
digests are known, and they are written as the text that they are kept as.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus.api import Condition, ServiceMeshPeer
from isthmus.api.followed import FollowedExports, FollowedImports
from isthmus.federation.listing import Listing
from isthmus.kube import Change, Client, ObjectKey, Store
from isthmus.kube.errors import NotFound, translated
from isthmus.kube.wire import collection_path

Kind = type[ServiceMeshPeer] | type[FollowedExports] | type[FollowedImports]
Resource = ServiceMeshPeer | FollowedExports | FollowedImports
Key = tuple[Kind, str]
Body = Mapping[str, Any]
"""Fields of a status with their values in JSON; a list is a Listing."""


@dataclass(frozen=True, slots=True)
class Present:
    """One status as it stands: its fields as JSON (digests in the place of lists), and its conditions."""

    stored: dict[str, Any]
    conditions: Sequence[Condition]

    def without(self, type_: str) -> "Present":
        """The same without the condition of that type."""
        return replace(self, conditions=[each for each in self.conditions if each.type != type_])


class Standing:
    """The statuses of the resources of one namespace."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        """Nothing is known until stores are followed."""
        self._client = client
        self._namespace = namespace
        self._known: dict[Key, Resource] = {}
        self._rendered: dict[Key, dict[str, tuple[str, str]]] = {}
        """By resource and list: the digest of what the API server last made of it, and of what we had written."""

    def follow(self, kind: Kind, store: Store[Any], changed: Callable[[Key], None]) -> None:
        """Know what is in the store; ``changed`` hears of what someone else has made of a resource."""

        def hear(change: Change[Any]) -> None:
            key = (kind, change.key.name)
            if change.new is None:
                self._forget(key)
            elif _version(change.new) != _version(self._known.get(key)):
                self._known[key] = change.new
                changed(key)

        store.subscribe(hear)

    def of(self, key: Key) -> Present | None:
        """The status as it stands; None if there is no such resource."""
        known = self._known.get(key)
        return None if known is None else _present(known)

    def is_so(self, key: Key, present: Present, body: Body) -> bool:
        """Whether the status says all of this already."""
        for field, wanted in body.items():
            stored = present.stored.get(field)
            if isinstance(wanted, Listing):
                digest = _text(wanted.digest)
                if stored != digest and self._rendered.get(key, {}).get(field) != (stored, digest):
                    return False
            elif stored != wanted:
                return False
        return True

    async def write(self, key: Key, body: Body) -> None:
        """Write these fields of the status.

        Raises:
            NotFound: there is no such resource any more, or it is another one of that name.
            Conflict: it is another than is known here; what it is will be heard of.
            KubeError: the API server cannot be reached, or refuses it.
        """
        kind, name = key
        doing = f"write the status of {called(kind)} {ObjectKey(self._namespace, name)}"
        path = f"{collection_path(kind, namespace=self._namespace)}/{name}/status"
        before, written = self._known.get(key), _digests(body)
        try:
            answer = await self._client.merge(path, _patch(before, body), doing=doing)
        except NotFound:
            if self._known.get(key) is before:
                self._forget(key)
            raise
        with translated(doing):
            after = msgspec.json.decode(answer, type=kind)
        # What was heard of meanwhile may be newer than the answer; if it is older, more will be heard.
        if self._known.get(key) is before:
            self._known[key] = after
        if key in self._known:
            rendered = _present(after).stored
            self._rendered[key] = {field: (str(rendered.get(field)), digest) for field, digest in written.items()}

    def _forget(self, key: Key) -> None:
        self._known.pop(key, None)
        self._rendered.pop(key, None)


def _patch(before: Resource | None, body: Body) -> bytes:
    fields = {field: msgspec.Raw(each.json) if isinstance(each, Listing) else each for field, each in body.items()}
    return msgspec.json.encode({"metadata": {"resourceVersion": _version(before)}, "status": fields})


def _digests(body: Body) -> dict[str, str]:
    return {field: _text(each.digest) for field, each in body.items() if isinstance(each, Listing)}


def _present(resource: Resource) -> Present:
    status = resource.status
    return Present({}, ()) if status is None else Present(jsonable(status), status.conditions)


def jsonable(value: object) -> Any:
    """The value as it stands in JSON: lists for tuples, texts for times."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _text(digest: msgspec.Raw) -> str:
    return msgspec.json.decode(digest, type=str)


def _version(resource: Any) -> str:
    return str(resource.metadata.resourceVersion) if resource is not None else ""


def called(kind: Kind) -> str:
    """The name of the kind, as administrators know it."""
    return str(kind._api_info.resource.kind)  # noqa: SLF001  (lightkube's convention)
