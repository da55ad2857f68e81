"""Objects as the garbage collector sees them: whose they are, who holds them, how they are to go. Pure.

Source: Kubernetes documentation, "Owners and Dependents", "Garbage Collection: Cascading deletion".
"""

from datetime import datetime
from enum import Enum, auto

import msgspec
from lightkube.models.meta_v1 import OwnerReference

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class OwnedMetadata(msgspec.Struct, omit_defaults=True):
    """The part of an object's metadata that ownership is about; the rest is not kept in memory."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resourceVersion: str | None = None  # noqa: N815 - the API's name
    deletionTimestamp: datetime | None = None  # noqa: N815 - the API's name
    finalizers: list[str] | None = None
    ownerReferences: list[OwnerReference] | None = None  # noqa: N815 - the API's name


class Owned(msgspec.Struct, omit_defaults=True):
    """Any object of the API, seen by its metadata only."""

    metadata: OwnedMetadata


class Standing(Enum):
    """What has become of an owner."""

    STAYS = auto()
    WAITS = auto()  # it is deleted, and stays only until its dependents are gone
    GONE = auto()


def owners(obj: Owned | None) -> list[OwnerReference]:
    """The owner references of an object, none for None."""
    return (obj.metadata.ownerReferences or []) if obj is not None else []


def finalizers(obj: Owned) -> list[str]:
    """What keeps a deleted object."""
    return obj.metadata.finalizers or []


def standing(owner: Owned) -> Standing:
    """Whether an owner that is there is one to stay."""
    waits = owner.metadata.deletionTimestamp is not None and FOREGROUND in finalizers(owner)
    return Standing.WAITS if waits else Standing.STAYS


def blocks(dependent: Owned | None, owner_uid: str) -> bool:
    """Whether a dependent holds a deleted owner until it is gone itself."""
    return any(owner.uid == owner_uid and owner.blockOwnerDeletion for owner in owners(dependent))


def policy_of(obj: Owned) -> str:
    """How an object without owners is to be deleted: as its finalizers say that somebody wanted it."""
    if ORPHAN in finalizers(obj):
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers(obj) else "Background"
