"""What the server owns of an object's metadata, and what a write may change. Pure.

Source: Kubernetes API conventions, "Metadata", "Spec and Status", "Concurrency Control and Consistency".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isthmus.lab.apiserver.errors import bad_request
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object, metadata

SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
KEEPS_STATUS_ON_CREATE = frozenset(("nodes", "customresourcedefinitions.apiextensions.k8s.io"))
GENERATED_NAME_LIMIT = 63 - 5


def rfc3339(moment: datetime) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new object gets from the world."""

    now: datetime
    uid: str
    suffix: Callable[[], str]


def prepare_create(obj: Object, resource: Resource, *, namespace: str, birth: Birth) -> None:
    """Give a new object its place and identity; drops what only the server may set. Raises StatusError (400)."""
    meta = metadata(obj)
    _check_place(meta, namespace)
    if meta.pop("resourceVersion", ""):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for name in SERVER_OWNED:
        meta.pop(name, None)
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = str(meta["generateName"])[:GENERATED_NAME_LIMIT] + birth.suffix()
    if resource.namespaced:
        meta["namespace"] = namespace
    meta["uid"] = birth.uid
    meta["creationTimestamp"] = rfc3339(birth.now)
    if resource.keeps_generation:
        meta["generation"] = 1
    _drop_empty(meta)
    if resource.has_status and resource.storage not in KEEPS_STATUS_ON_CREATE:
        obj.pop("status", None)


def _drop_empty(meta: dict[str, Any]) -> None:
    """Empty and absent are the same in metadata, and absent is what clients read."""
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName"):
        if name in meta and not meta[name]:
            del meta[name]


def _check_place(meta: dict[str, Any], namespace: str) -> None:
    given = meta.get("namespace") or ""
    if given and given != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def prepare_update(new: Object, old: Object, resource: Resource, *, subresource: str) -> Object:
    """The object that a write of ``new`` over ``old`` means: the server's part kept, status and the rest kept apart."""
    if subresource == "status":
        new = {**old, "metadata": _status_metadata(new, old), **({"status": new["status"]} if "status" in new else {})}
    elif resource.has_status:
        new = {name: value for name, value in new.items() if name != "status"}
        if "status" in old:
            new["status"] = old["status"]
    meta, before = metadata(new), metadata(old)
    for name in (*SERVER_OWNED, "name", "namespace", "generateName"):
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)
    _drop_empty(meta)
    return new


def count_generation(new: Object, old: Object, resource: Resource) -> None:
    """Count a change of what is wanted (anything but metadata and status), once ``new`` is complete."""
    if resource.keeps_generation and _substance(new) != _substance(old):
        metadata(new)["generation"] = int(metadata(old).get("generation", 0)) + 1


def _status_metadata(new: Object, old: Object) -> dict[str, Any]:
    kept = dict(metadata(old))
    for name in ("resourceVersion", "managedFields"):
        if name in metadata(new):
            kept[name] = metadata(new)[name]
    return kept


def _substance(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def same_object(new: Object, old: Object) -> bool:
    """Whether a write changes nothing worth a revision."""
    return _comparable(new) == _comparable(old)


def _comparable(obj: Object) -> Object:
    meta = {name: value for name, value in metadata(obj).items() if name not in ("resourceVersion", "managedFields")}
    fields = [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in metadata(obj).get("managedFields") or ()
    ]
    return {**obj, "metadata": meta, "managed": fields}
