"""The connection to the Kubernetes API: lightkube for single requests, plain ones for what is frequent or large.

What is added to lightkube: one set of connections with aiohttp, who we are as :mod:`isthmus.kube.credentials` knows it,
and requests that nothing is made of on the way.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import lightkube
import msgspec
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import api_info
from yarl import URL

from isthmus.aiohttp_transport import AiohttpTransport, body, session
from isthmus.kube.credentials import authorizing, credential_of
from isthmus.kube.errors import error_of, translated
from isthmus.kube.store import KubeObject, metadata_of
from isthmus.kube.wire import collection_path, version_of

TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=10.0, pool=10.0)
"""Of lightkube's requests."""
_TIMEOUT = aiohttp.ClientTimeout(sock_connect=5.0, sock_read=30.0)
"""Of our own; a stream may be silent for as long as its connection lives."""
_SILENT = aiohttp.ClientTimeout(sock_connect=5.0)


class Client:
    """The Kubernetes API, as one process uses it. Made by :func:`connect`, which also closes it.

    ``api`` is lightkube's client, for single requests; ``namespace`` is the one that the configuration names.
    """

    def __init__(
        self, api: lightkube.AsyncClient, http: aiohttp.ClientSession, *, server: str, field_manager: str
    ) -> None:
        """Put the two together. server: the URL that all paths are below."""
        self.api = api
        self.field_manager = field_manager
        self._http = http
        self._server = server.rstrip("/")

    @property
    def namespace(self) -> str:
        """The namespace of the configuration."""
        return str(self.api.namespace)

    async def read(self, path: str, params: Mapping[str, str], *, doing: str) -> bytes:
        """GET ``path`` and return the body. Raises KubeError."""
        async with self._ask("GET", path, params, doing=doing) as answer:
            return await answer.read()

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """PATCH ``path`` by a JSON merge patch under our field manager, and return the body. Raises KubeError.

        For what is too large to be made of values and into values on the way.
        """
        headers, params = {"Content-Type": "application/merge-patch+json"}, {"fieldManager": self.field_manager}
        async with self._ask("PATCH", path, params, doing=doing, data=body(patch), headers=headers) as answer:
            return await answer.read()

    async def apply(self, obj: KubeObject, *, doing: str) -> str:
        """Apply the object, taking fields over from whoever else has them; return its resource version.

        Raises KubeError. Source: Kubernetes, "Server-Side Apply".
        """
        kind: Any = type(obj)
        metadata, info = metadata_of(obj), api_info(kind)
        path = f"{collection_path(kind, namespace=metadata.namespace)}/{metadata.name}"
        fields = {"apiVersion": info.resource.api_version, "kind": info.resource.kind, **msgspec.to_builtins(obj)}
        async with self._ask(
            "PATCH",
            path,
            {"fieldManager": self.field_manager, "force": "true"},
            doing=doing,
            data=body(msgspec.json.encode(fields)),
            headers={"Content-Type": "application/apply-patch+yaml"},
        ) as answer:
            return version_of(await answer.read())

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], *, doing: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET ``path`` and give the body's chunks as they arrive. Raises KubeError, in the block as well."""
        # Compression would hold events back until a block of them is full.
        headers = {"Accept-Encoding": "identity"}
        async with self._ask("GET", path, params, doing=doing, headers=headers, timeout=_SILENT) as answer:
            yield answer.content.iter_any()

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, params: Mapping[str, str], *, doing: str, **how: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        with translated(doing):
            async with self._http.request(method, URL(self._server + path), params=params, **how) as answer:
                if answer.status >= 400:
                    raise _status_error(answer.status, await answer.text(errors="replace"), doing)
                yield answer


def _status_error(code: int, text: str, doing: str) -> Exception:
    """Make the error of a Status object, or of whatever else came."""
    try:
        status: Any = msgspec.json.decode(text)
        return error_of(code, str(status["message"]), doing=doing, reason=str(status.get("reason", "")))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return error_of(code, text, doing=doing)


@asynccontextmanager
async def connect(
    *, field_manager: str, kubeconfig: Path | None = None, config: SingleConfig | None = None
) -> AsyncIterator[Client]:
    """Connect to the API server, and close the connections at the end; nothing is asked of it yet.

    The configuration is ``config`` if it is given, else that of ``kubeconfig``, else of $KUBECONFIG, else of the pod
    that we are in, else of ~/.kube/config. field_manager: the name under which we write. Raises ConfigError if there
    is no usable one.
    """
    # Each of these reads files.
    config = await asyncio.to_thread(load_config, kubeconfig) if config is None else config
    user = config.user or User()
    verify = await asyncio.to_thread(verify_cluster, config.cluster, user, config.abs_file)
    middlewares = authorizing(credential_of(user, config.abs_file))
    async with (
        session(verify, middlewares=middlewares, timeout=_TIMEOUT) as http,
        session(verify, middlewares=middlewares, connector=http.connector, auto_decompress=False) as raw,
        await asyncio.to_thread(_api, config, AiohttpTransport(raw), field_manager) as api,
    ):
        yield Client(api, http, server=config.cluster.server, field_manager=field_manager)


def _api(config: SingleConfig, transport: AiohttpTransport, field_manager: str) -> lightkube.AsyncClient:
    # The transport says who we are.
    config = config._replace(user=User())
    return lightkube.AsyncClient(config=config, timeout=TIMEOUT, transport=transport, field_manager=field_manager)


def load_config(kubeconfig: Path | None) -> SingleConfig:
    """Find the configuration; blocks. Raises ConfigError if there is no usable one."""
    if kubeconfig is not None or "KUBECONFIG" in os.environ:
        config = KubeConfig.from_file(kubeconfig or os.environ["KUBECONFIG"]).get()
    else:
        config = KubeConfig.from_env().get()
    if config is None or config.user is None:
        raise ConfigError("the Kubernetes configuration names no user: set current-context, with a cluster and a user")
    return config
