"""The clusters of some contexts: what meshes and peers they have, the pods of a source, and a pod's log."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from isthmus.discovery.lines import LineSplitter
from isthmus.doctor.contexts import connect
from isthmus.doctor.objects import listed, side_by_side
from isthmus.doctor.peer_logs.sources import Cluster, Source
from isthmus.kube import Client
from isthmus.kube.errors import Denied

LONGEST_LINE_BYTES = 64 * 1024
_CONTAINERS = {"istiod": "discovery"}
_GATEWAY_CONTAINER = "istio-proxy"


class Clusters:
    """Connections by context. Made by :func:`connect_all`."""

    def __init__(self, clients: Mapping[str | None, Client]) -> None:
        """Remember them."""
        self._clients = dict(clients)

    async def read(self, namespace: str = "") -> list[Cluster]:
        """The control planes and peers of each cluster, in the order of the contexts. Raises KubeError.

        namespace: what there is is looked for there, where one may not see the whole cluster.
        """
        return await side_by_side([self._cluster(context, namespace) for context in self._clients])

    async def _cluster(self, context: str | None, namespace: str) -> Cluster:
        try:
            return await self._seen(context, "")
        except Denied:
            if not namespace:
                raise
        return await self._seen(context, f"namespaces/{namespace}/")

    async def _seen(self, context: str | None, scope: str) -> Cluster:
        client, where = self._clients[context], _where(context)
        planes = await listed(client, f"/apis/maistra.io/v2/{scope}servicemeshcontrolplanes", where=where)
        peers = await listed(client, f"/apis/federation.maistra.io/v1/{scope}servicemeshpeers", where=where)
        return Cluster(context=context, control_planes=planes, peers=peers)

    async def pods(self, source: Source) -> list[str]:
        """The names of a source's pods that have a log, or soon will. Raises KubeError."""
        client, path = self._clients[source.context], f"/api/v1/namespaces/{source.namespace}/pods"
        pods = await listed(client, path, where=_where(source.context), labels=source.labels)
        return sorted(
            str(pod["metadata"]["name"]) for pod in pods if (pod.get("status") or {}).get("phase") != "Pending"
        )

    @asynccontextmanager
    async def lines(self, source: Source, pod: str, params: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a pod's log, each with its time in front. params: as of the subresource. Raises KubeError."""
        path = f"/api/v1/namespaces/{source.namespace}/pods/{pod}/log"
        container = _CONTAINERS.get(source.component, _GATEWAY_CONTAINER)
        query = {"container": container, "timestamps": "true", **params}
        doing = f"read the log of pod {source.namespace}/{pod} in {_where(source.context)}"
        async with self._clients[source.context].stream(path, query, doing=doing) as chunks:
            yield _split(chunks)


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    splitter = LineSplitter(limit=LONGEST_LINE_BYTES)
    async for chunk in chunks:
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.feed(b"\n"):
        if line:
            yield line


@asynccontextmanager
async def connect_all(contexts: Sequence[str], kubeconfig: Path | None = None) -> AsyncIterator[Clusters]:
    """Connect to the clusters of these contexts, or of the current one, for the block. Raises ContextError."""
    async with AsyncExitStack() as stack:
        chosen: list[str | None] = [*dict.fromkeys(contexts)] or [None]
        clients = {
            context: await stack.enter_async_context(connect(context, kubeconfig=kubeconfig)) for context in chosen
        }
        yield Clusters(clients)


def _where(context: str | None) -> str:
    return f"context {context}" if context else "the current context"
