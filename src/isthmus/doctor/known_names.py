"""The names of meshes, peers and their namespaces in some clusters, for who is just typing one.

Fast or not at all: whoever presses Tab does not wait, and reads no errors.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightkube.core.exceptions import ConfigError

from isthmus.doctor.contexts import ContextError, connect, context_names
from isthmus.doctor.objects import listed
from isthmus.kube.errors import KubeError

TIMEOUT_S = 2.0
"""For all clusters together."""
MESHES = "/apis/maistra.io/v2/servicemeshcontrolplanes"
PEERS = "/apis/federation.maistra.io/v1/servicemeshpeers"


def known_contexts(kubeconfig: Path | None = None) -> list[str]:
    """The names of contexts; none if there is no usable configuration. Blocks."""
    try:
        return list(context_names(kubeconfig))
    except ContextError:
        return []


def known_objects(path: str, contexts: Sequence[str], kubeconfig: Path | None = None) -> list[tuple[str, str]]:
    """Namespace and name of each object of a collection in the clusters of these contexts, or of the current one.

    Blocks, for two seconds at most; what has not come by then, or cannot be read, is left out.
    """
    return asyncio.run(_known(path, contexts or [None], kubeconfig))


async def _known(path: str, contexts: Iterable[str | None], kubeconfig: Path | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    try:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
            for context in contexts:
                tasks.create_task(_collect(path, context, kubeconfig, found), name=f"read {path} in {context}")
    except TimeoutError:
        pass
    return sorted(set(found))


async def _collect(path: str, context: str | None, kubeconfig: Path | None, found: list[tuple[str, str]]) -> None:
    try:
        async with connect(context, kubeconfig=kubeconfig) as client:
            items: list[Any] = await listed(client, path, where=str(context))
    except (ContextError, ConfigError, KubeError, OSError, ValueError):
        return
    found += [(str(each["metadata"].get("namespace", "")), str(each["metadata"]["name"])) for each in items]
