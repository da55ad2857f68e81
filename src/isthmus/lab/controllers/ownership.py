"""Owner references: whose an object is (Kubernetes documentation, "Owners and Dependents")."""

from typing import Any

from lightkube.models.meta_v1 import OwnerReference

from isthmus.lab.client import metadata_of


def owner_reference(owner: Any) -> OwnerReference:
    """A controller reference to ``owner``, a stored lightkube object."""
    definition = type(owner)._api_info.resource  # noqa: SLF001 - lightkube publishes the kind of a class only there
    metadata = metadata_of(owner)
    return OwnerReference(
        apiVersion=definition.api_version,
        kind=definition.kind,
        name=metadata.name or "",
        uid=metadata.uid or "",
        controller=True,
        blockOwnerDeletion=True,
    )
