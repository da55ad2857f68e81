"""What every client needs to know of an object, whatever its kind (Kubernetes API conventions, "Metadata")."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from lightkube import ApiError
from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference


class ObjectKey(NamedTuple):
    """Who an object is among its kind; ``namespace`` is empty for kinds that are not namespaced."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KubeObject(Protocol):
    """Any object of the API, as lightkube decodes it."""

    metadata: ObjectMeta | None


def metadata_of(obj: KubeObject) -> ObjectMeta:
    """The metadata of a stored object, which always has some."""
    if obj.metadata is None:
        raise ValueError(f"Reading an object of kind {type(obj).__name__}: it has no metadata, stored objects do")
    return obj.metadata


def key_of(obj: KubeObject) -> ObjectKey:
    """Namespace and name of a stored object."""
    metadata = metadata_of(obj)
    return ObjectKey(metadata.namespace or "", metadata.name or "")


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The one owner reference with ``controller: true``, if there is one."""
    owners = metadata_of(obj).ownerReferences or []
    return next((owner for owner in owners if owner.controller), None)


def labels_match(selector: LabelSelector, labels: Mapping[str, str] | None) -> bool:
    """Whether labels satisfy a selector; an empty one selects everything (labels and selectors docs)."""
    present = labels or {}
    exact: dict[str, str] = selector.matchLabels or {}
    return all(present.get(key) == value for key, value in exact.items()) and all(
        _requirement_met(requirement, present) for requirement in selector.matchExpressions or []
    )


def _requirement_met(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in (requirement.values or [])
        case "NotIn":
            return value is None or value not in (requirement.values or [])
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False


def absent(error: ApiError) -> bool:
    """Whether the server said that the object is not (or no longer) there."""
    return error.status.code == 404


def conflict(error: ApiError) -> bool:
    """Whether the server said that the object exists already, or is newer than what was sent."""
    return error.status.code == 409


def expired(error: ApiError) -> bool:
    """Whether the server no longer knows the resource version asked for, so that one has to list again."""
    return error.status.code == 410
