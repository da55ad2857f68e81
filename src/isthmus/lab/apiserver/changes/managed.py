"""Who manages which field: ``metadata.managedFields``. Pure.

Source: Kubernetes documentation, "Server-Side Apply", field management; FieldsV1 format.
"""

from __future__ import annotations

from typing import Any

from isthmus.lab.apiserver.changes.options import WriteOptions
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object


def track(
    new: Object,
    old: Object | None,
    *,
    resource: Resource,
    options: WriteOptions,
    operation: str,
    now: str,
    subresource: str = "",
) -> None:
    """Note in ``new`` what its manager changed."""
    _: Any = (new, old, resource, options, operation, now, subresource)
