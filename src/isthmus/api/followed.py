"""The sets as a control plane follows them: the list in their status, which may have ten thousand entries, as a digest.

Decoding an entry costs more than everything else of a set, keeping it more than the rules, and nobody reads it: the
control plane that wrote the list knows what it should be.
"""

import hashlib

import msgspec
from lightkube.core.resource import NamespacedResourceG

from isthmus.api.exports import ExportedServiceSet, ExportsModel
from isthmus.api.imports import ImportedServiceSet, ImportsModel
from isthmus.api.meta import Conditions, ObservedGeneration, Part

NO_LIST = msgspec.Raw(b"null")


def digest_of(json: bytes) -> msgspec.Raw:
    """What stands for a list of that JSON text: a JSON string, the same for the same text."""
    return msgspec.Raw(b'"%s"' % hashlib.sha256(json).hexdigest().encode())


class FollowedExportsStatus(Part, frozen=True, kw_only=True):
    """What is exported, as a digest, and the conditions."""

    exported_services: msgspec.Raw = NO_LIST
    exported: int | None = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None

    def __post_init__(self) -> None:
        """Keep the digest in the place of the list."""
        msgspec.structs.force_setattr(self, "exported_services", _digest(self.exported_services))


class FollowedImportsStatus(Part, frozen=True, kw_only=True):
    """What is imported and on offer, as a digest, and the conditions."""

    imported_services: msgspec.Raw = NO_LIST
    imported: int | None = None
    offered: int | None = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None

    def __post_init__(self) -> None:
        """Keep the digest in the place of the list."""
        msgspec.structs.force_setattr(self, "imported_services", _digest(self.imported_services))


def _digest(listed: msgspec.Raw) -> msgspec.Raw:
    return NO_LIST if bytes(listed) == b"null" else digest_of(bytes(listed))


class FollowedExports(NamespacedResourceG, ExportsModel, frozen=True, kw_only=True):
    """An ExportedServiceSet as it is followed; never to be written back."""

    _api_info = ExportedServiceSet._api_info  # noqa: SLF001  (lightkube's name for it)
    status: FollowedExportsStatus | None = None


class FollowedImports(NamespacedResourceG, ImportsModel, frozen=True, kw_only=True):
    """An ImportedServiceSet as it is followed; never to be written back."""

    _api_info = ImportedServiceSet._api_info  # noqa: SLF001  (lightkube's name for it)
    status: FollowedImportsStatus | None = None
