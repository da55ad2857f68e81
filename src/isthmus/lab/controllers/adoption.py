"""A controller takes over what it would have made, if nobody owns it.

Source: Kubernetes documentation, "ReplicaSet: Non-Template Pod acquisitions", "Deployments: Selector".
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import LabelSelector
from lightkube.types import PatchType

from isthmus.lab.client import absent, controller_of, key_of
from isthmus.lab.client.objects import KubeObject, conflict, labels_match, metadata_of
from isthmus.lab.controllers.ownership import owner_reference


def is_orphan_of(selector: LabelSelector | None, obj: KubeObject) -> bool:
    """Whether an object answers to the selector and has no controller; what is being deleted is left alone."""
    meta = metadata_of(obj)
    free = controller_of(obj) is None and meta.deletionTimestamp is None
    return free and selector is not None and labels_match(selector, meta.labels)


async def adopt(client: AsyncClient, owner: Any, orphans: Iterable[Any]) -> list[Any]:
    """Make ``owner`` the controller of each; returns those that it got, as they are now."""
    adopted = []
    for orphan in orphans:
        key, meta = key_of(orphan), metadata_of(orphan)
        references = [msgspec.to_builtins(one) for one in [*(meta.ownerReferences or []), owner_reference(owner)]]
        # The version stands for "nobody else was faster".
        patch = {"metadata": {"ownerReferences": references, "resourceVersion": meta.resourceVersion}}
        try:
            taken = await client.patch(
                type(orphan), key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
            )
        except ApiError as error:
            if not absent(error) and not conflict(error):
                raise
        else:
            adopted.append(taken)
    return adopted
