"""Reads what tells how links fare, from the clusters of one or several contexts at once; writes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from lightkube.core.exceptions import ConfigError

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.doctor.contexts import ContextError, connect
from isthmus.doctor.links.lines import Resources
from isthmus.kube import Client
from isthmus.kube.errors import Denied, KubeError, NotFound, translated

TIMEOUT_S: Final = 10.0
"""For one cluster; of several, one that does not answer must not hold up the others for long."""

_T = TypeVar("_T", ServiceMeshControlPlane, ServiceMeshPeer, ExportedServiceSet, ImportedServiceSet)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A context whose cluster could not be read, and why."""

    context: str
    why: str


async def read_contexts(
    contexts: Sequence[str | None], *, namespace: str | None, kubeconfig: Path | None
) -> list[Resources | Unreadable]:
    """What there is in each context (None: the current one), in their order."""
    async with asyncio.TaskGroup() as tasks:
        reading = [
            tasks.create_task(_read_context(each, namespace, kubeconfig), name=f"read {each or 'the current context'}")
            for each in contexts
        ]
    return [task.result() for task in reading]


async def _read_context(context: str | None, namespace: str | None, kubeconfig: Path | None) -> Resources | Unreadable:
    name = context or ""
    try:
        async with asyncio.timeout(TIMEOUT_S), connect(context, kubeconfig=kubeconfig) as client:
            return await read(client, context=name, namespace=namespace)
    except TimeoutError:
        return Unreadable(name, f"no answer within {TIMEOUT_S:g} s")
    except (ContextError, ConfigError, KubeError) as error:
        return Unreadable(name, str(error))


async def read(client: Client, *, context: str, namespace: str | None) -> Resources:
    """What there is in one cluster; in one namespace, or in all, or in the context's own if one may not see all.

    Raises KubeError: the cluster does not answer, or peers may not be listed.
    """
    where = namespace or "*"
    try:
        peers = await _list(client, ServiceMeshPeer, where)
    except Denied:
        if namespace is not None:
            raise
        where = client.namespace
        peers = await _list(client, ServiceMeshPeer, where)
    return Resources(
        context=context,
        peers=peers,
        meshes=await _if_allowed(client, ServiceMeshControlPlane, where),
        exports=await _if_allowed(client, ExportedServiceSet, where),
        imports=await _if_allowed(client, ImportedServiceSet, where),
    )


async def _if_allowed(client: Client, kind: type[_T], namespace: str) -> list[_T]:
    try:
        return await _list(client, kind, namespace)
    except Denied:
        return []


async def _list(client: Client, kind: type[_T], namespace: str) -> list[_T]:
    """All objects of a kind; none in a cluster that does not know the kind."""
    found: Any = kind
    with translated(f"list {kind.__name__}s in {'all namespaces' if namespace == '*' else namespace}"):
        try:
            return [each async for each in client.api.list(found, namespace=namespace)]
        except NotFound:
            return []
