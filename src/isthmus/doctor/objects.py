"""Objects of a cluster as JSON, asked for one by one or side by side, with the administrator's rights.

JSON because what a newer version writes must be shown, and must not get lost.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from isthmus.kube import Client
from isthmus.kube.errors import KubeError, NotFound

T = TypeVar("T")


async def listed(client: Client, path: str, *, where: str, labels: str = "") -> list[Any]:
    """The items of a collection. where: the cluster, for errors. Raises KubeError."""
    content = await client.read(path, {"labelSelector": labels} if labels else {}, doing=f"read {path} in {where}")
    items: list[Any] = json.loads(content)["items"]
    return items


async def found(client: Client, path: str, *, where: str) -> Mapping[str, Any] | None:
    """One object; None if it is not there. Raises KubeError."""
    try:
        content = await client.read(path, {}, doing=f"read {path} in {where}")
    except NotFound:
        return None
    obj: Mapping[str, Any] = json.loads(content)
    return obj


def at(obj: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The mapping at a path; an empty one where there is none."""
    inner: Any = obj
    for name in path:
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


async def side_by_side(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once; the results in their order. Raises the first KubeError, not in a group."""
    failed: list[Exception] = []
    running: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            running += [tasks.create_task(work) for work in works]
    except* KubeError as group:
        failed += group.exceptions
    if failed:  # raised outside of except*, which would wrap it in a group again
        raise failed[0]
    return [task.result() for task in running]
