"""The logs of all pods of a cluster: those of its own node are at hand, those of other nodes are asked for there.

As a real API server does: ``/containerLogs`` of the node's address and port, with a client certificate, and without
verifying the node's, which is self-signed (Kubernetes documentation, "Control Plane-Node Communication").
"""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import httpx2
from lightkube import AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Node, Pod

from isthmus.lab.apiserver import Started
from isthmus.lab.client import Informers, ObjectKey
from isthmus.lab.clusters import write_private
from isthmus.lab.node.log_server import CLIENT_CA, PUBLISHED
from isthmus.lab.node.logs import LogStore
from isthmus.lab.pod_logs import LogRequest

CONNECT_S = 5.0


class NodeLogs:
    """What the API server reads logs through. Until :meth:`reach` is called it knows its own node's only."""

    def __init__(self, own: LogStore) -> None:
        self._own = own
        self._informers: Informers | None = None
        self._http: httpx2.AsyncClient | None = None

    def reach(self, informers: Informers, http: httpx2.AsyncClient) -> None:
        """Ask other nodes too; the informers must have those of Pod and Node."""
        self._informers, self._http = informers, http

    async def open(self, wanted: LogRequest) -> AsyncIterator[bytes]:
        """The lines of a container. Raises LookupError if there is no such log, or its node does not give it."""
        server = self._elsewhere(ObjectKey(wanted.namespace, wanted.pod))
        if server is None or self._http is None:
            return await self._own.open(wanted)
        url = f"{server}/containerLogs/{wanted.namespace}/{wanted.pod}/{wanted.container}"
        return await _fetch(self._http, url, _query(wanted))

    def _elsewhere(self, key: ObjectKey) -> str | None:
        """The server of the node that runs the pod; None if it has none, as the lab's own node."""
        pod = self._informers.of(Pod).get(key) if self._informers is not None else None
        if pod is None or pod.spec is None or self._informers is None:
            return None
        node = self._informers.of(Node).get(ObjectKey("", pod.spec.nodeName or ""))
        return server_of(node) if node is not None else None


def server_of(node: Node) -> str | None:
    """Where a node serves logs; None if it does not."""
    status = node.status
    endpoint = status.daemonEndpoints.kubeletEndpoint if status and status.daemonEndpoints else None
    addresses = [one.address for one in (status.addresses if status else None) or [] if one.type == "InternalIP"]
    return f"https://{addresses[0]}:{endpoint.Port}" if addresses and endpoint and endpoint.Port else None


def _query(wanted: LogRequest) -> dict[str, str]:
    flags = {"follow": wanted.follow, "timestamps": wanted.timestamps, "previous": wanted.previous}
    query = {name: "true" for name, is_set in flags.items() if is_set}
    query |= {} if wanted.tail_lines is None else {"tailLines": str(wanted.tail_lines)}
    return query | ({} if wanted.since is None else {"sinceTime": wanted.since.astimezone(UTC).isoformat()})


async def _fetch(http: httpx2.AsyncClient, url: str, query: dict[str, str]) -> AsyncIterator[bytes]:
    try:
        answer = await http.send(http.build_request("GET", url, params=query), stream=True)
    except httpx2.HTTPError as error:
        raise LookupError(f"Reading {url}: {str(error) or type(error).__name__}; the node does not answer") from error
    if answer.status_code != httpx2.codes.OK:
        text = (await answer.aread()).decode(errors="replace")[:200]
        await answer.aclose()
        raise LookupError(text)
    return _lines(answer)


async def _lines(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


async def publish_client_authority(client: AsyncClient, pem: bytes) -> None:
    """Tell nodes who signs the certificates of clients, as a real API server does."""
    metadata = ObjectMeta(name=PUBLISHED.name, namespace=PUBLISHED.namespace)
    await client.apply(ConfigMap(metadata=metadata, data={CLIENT_CA: pem.decode()}), force=True)


def node_client(api: Started, file: Path) -> httpx2.AsyncClient:
    """A client for nodes with the administrator's certificate, which is written to ``file``; the caller closes it."""
    write_private(file, (api.admin_certificate.key + api.admin_certificate.certificate).decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(file)
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    return httpx2.AsyncClient(verify=context, timeout=timeout, trust_env=False)
