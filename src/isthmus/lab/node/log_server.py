"""What an API server asks a node of another process for: the output of containers (the kubelet's ``/containerLogs``).

Clients are those whose certificate the cluster's authority for clients has signed, as the ConfigMap
``kube-system/extension-apiserver-authentication`` publishes it, and who may use ``nodes/proxy`` of this node, as the
API server says when it is asked (Kubernetes documentation, "Kubelet authentication/authorization"). Nobody else gets
beyond the handshake. The node's own certificate is self-signed, as a kubelet's is unless it is told otherwise.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from lightkube import AsyncClient
from lightkube.models.authorization_v1 import ResourceAttributes, SubjectAccessReviewSpec
from lightkube.resources.authorization_v1 import SubjectAccessReview
from lightkube.resources.core_v1 import ConfigMap, Pod
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from isthmus.lab.client import Informers, ObjectKey, metadata_of
from isthmus.lab.http_server import HttpServer, Peer, peer_of
from isthmus.lab.node.certificate import write_self_signed
from isthmus.lab.node.logs import LogStore
from isthmus.lab.pod_logs import LogRequest, limited

log = structlog.get_logger()

PORT = 10250
PUBLISHED, CLIENT_CA = ObjectKey("kube-system", "extension-apiserver-authentication"), "client-ca-file"
PEER = "isthmus.peer"
AUTHENTICATED = "system:authenticated"
STOP_WITHIN_S = 1
CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class LogServerSettings:
    """node: its name; address: where to listen, on :data:`PORT`; folder: where the certificate is kept."""

    node: str
    address: str
    folder: Path


class LogServer:
    """Serves the logs of one node."""

    def __init__(
        self, client: AsyncClient, informers: Informers, *, logs: LogStore, settings: LogServerSettings
    ) -> None:
        self._client = client
        self._pods = informers.of(Pod)
        self._maps = informers.of(ConfigMap)
        self._logs = logs
        self._settings = settings

    async def run(self) -> None:
        """Serve until cancelled; not at all if the cluster says nothing of its clients. The informers must have synced.

        Raises OSError if the address is taken.
        """
        published = self._maps.get(PUBLISHED)
        authority = ((published.data if published else None) or {}).get(CLIENT_CA)
        if not authority:
            log.info("logs are not served", node=self._settings.node, reason=f"there is no {PUBLISHED}")
            return
        server = HttpServer(self._config(authority))
        with socket.create_server((self._settings.address, PORT)) as listener:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve(sockets=[listener]), name="serve logs")
                try:
                    await asyncio.shield(serving)
                finally:
                    server.should_exit = True
                    async with asyncio.timeout(2 * STOP_WITHIN_S):
                        await asyncio.shield(serving)

    def _config(self, authority: str) -> uvicorn.Config:
        tls = self._tls(authority)
        return uvicorn.Config(
            Starlette(routes=[Route("/containerLogs/{namespace}/{pod}/{container}", self._answer, methods=["GET"])]),
            http=_Protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            ssl_context_factory=lambda *_: tls,
        )

    def _tls(self, authority: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        file = self._settings.folder / "serving.pem"
        write_self_signed(file, name=self._settings.node, address=self._settings.address, now=datetime.now(UTC))
        context.load_cert_chain(file)
        context.load_verify_locations(cadata=authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _answer(self, request: Request) -> StreamingResponse:
        await self._require_right(request.scope["extensions"][PEER])
        key = ObjectKey(request.path_params["namespace"], request.path_params["pod"])
        pod = self._pods.get(key)
        if pod is None or pod.spec is None or pod.spec.nodeName != self._settings.node:
            raise HTTPException(404, f"pod {key} does not run on {self._settings.node}")
        uid, container = metadata_of(pod).uid or "", request.path_params["container"]
        known = {one.name for one in [*pod.spec.containers, *(pod.spec.initContainers or [])]}
        if container not in known:
            raise HTTPException(404, f"container {container} is not one of pod {key}")
        options, limit = _options(request.query_params)
        try:
            lines = await self._logs.open(
                LogRequest(namespace=key.namespace, pod=key.name, uid=uid, container=container, **options)
            )
        except LookupError as error:
            raise HTTPException(404, str(error.args[0])) from error
        return StreamingResponse(limited(lines, limit), media_type="text/plain")

    async def _require_right(self, peer: Peer | None) -> None:
        """Raises HTTPException (403) unless the API server says that the client may use this node's proxy."""
        if peer is None:
            raise HTTPException(403, "the certificate of the client names nobody")
        attributes = ResourceAttributes(
            verb="get", resource="nodes", subresource="proxy", name=self._settings.node, version="v1"
        )
        groups = [*peer.groups, AUTHENTICATED]
        spec = SubjectAccessReviewSpec(user=peer.user, groups=groups, resourceAttributes=attributes)
        answer = await self._client.create(SubjectAccessReview(spec=spec))
        if answer.status is None or not answer.status.allowed:
            raise HTTPException(403, f"{peer.user} may not get nodes/proxy of {self._settings.node}")


def _options(query: Mapping[str, str]) -> tuple[dict[str, Any], int | None]:
    """What :meth:`LogStore.open` is asked, and ``limitBytes``. Raises HTTPException (400) for what can't be."""
    try:
        since = datetime.fromisoformat(query["sinceTime"]) if "sinceTime" in query else None
        if "sinceSeconds" in query:
            since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
        options = {
            "follow": query.get("follow") == "true",
            "tail_lines": int(query["tailLines"]) if "tailLines" in query else None,
            "since": since,
            "timestamps": query.get("timestamps") == "true",
            "previous": query.get("previous") == "true",
        }
        return options, int(query["limitBytes"]) if "limitBytes" in query else None
    except (ValueError, OverflowError) as error:
        raise HTTPException(400, f"Reading the options of a log: {error}") from error


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which tells the application who the client is."""

    _peer: Peer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self._peer = peer_of(certificate)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope["extensions"] = {PEER: self._peer}
