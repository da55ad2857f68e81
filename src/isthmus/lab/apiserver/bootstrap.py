"""What a fresh cluster begins with; made at start when it is missing."""

from __future__ import annotations

from typing import Any

from isthmus.lab.apiserver.changes import WriteOptions
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.objects import Object
from isthmus.lab.apiserver.rest.services import Services

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


async def bootstrap(services: Services, *, settings: Any, port: int, ca: bytes) -> None:
    """Make what is missing."""
    for name in NAMESPACES:
        await _ensure(services, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _ensure(services: Services, obj: Object, *, namespace: str = "") -> None:
    group, _, version = obj["apiVersion"].rpartition("/")
    resource = services.registry.of_kind(group, version, obj["kind"])
    if resource is None:
        raise LookupError(f"Making {obj['kind']} at start: no such kind is served")
    try:
        await services.changes.create(
            resource, obj, namespace=namespace, options=WriteOptions(manager="kube-apiserver")
        )
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
