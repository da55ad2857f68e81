"""The connection to the Kubernetes API: lightkube for single requests, plain streams for lists and watches.

What is added to lightkube: the bearer token is read again every minute and after a 401 (service account tokens are
renewed in place and expire within the hour: Kubernetes, "Managing Service Accounts", "Bound service account tokens");
a dead connection is noticed within half a minute, also while it is silent, which a watch may be for long.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from isthmus.kube.errors import error_of, translated

TOKEN_LIFE_S = 60.0
"""How long a token that was read is used: tokens are renewed at 80% of an hour, so a minute late is early enough."""

TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=10.0, pool=10.0)
"""Of single requests; a stream may be silent for as long as its connection lives."""

_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
]

_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)


class TokenFile:
    """A bearer token in a file that someone else renews."""

    def __init__(self, path: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self._path = path
        self._token = ""
        self._read_at = float("-inf")

    async def token(self, *, stale: str | None = None) -> str:
        """Return the token. ``stale``: one that the server has just refused, so that the file is read again."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > TOKEN_LIFE_S or self._token == stale:
            self._token = (await asyncio.to_thread(self._path.read_text)).strip()
            self._read_at = now
        return self._token


class ApiTransport(httpx2.AsyncBaseTransport):
    """The transport of both kinds of requests."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, token_file: TokenFile | None) -> None:
        """Send through ``inner``, which is closed with this one, with the token of the file if there is one."""
        self._inner = inner
        self._token_file = token_file

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; once more with a new token if the server no longer takes the one that we have."""
        response = await self._send(request)
        # lightkube takes for granted that an error has a Content-Type; what stands before an API server may forget it.
        response.headers.setdefault("Content-Type", "")
        return response

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        if self._token_file is None:
            return await self._inner.handle_async_request(request)
        token = await self._token_file.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = await self._inner.handle_async_request(request)
        if response.status_code != 401 or (renewed := await self._token_file.token(stale=token)) == token:
            return response
        await response.aclose()
        request.headers["Authorization"] = f"Bearer {renewed}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class Client:
    """The Kubernetes API, as one process uses it. Made by :func:`connect`, which also closes it.

    ``api`` is lightkube's client, for single requests; ``namespace`` is the one that the configuration names.
    """

    def __init__(self, api: lightkube.AsyncClient, streams: httpx2.AsyncClient, *, field_manager: str) -> None:
        """Put the two together."""
        self.api = api
        self.field_manager = field_manager
        self._streams = streams

    @property
    def namespace(self) -> str:
        """The namespace of the configuration."""
        return str(self.api.namespace)

    async def read(self, path: str, params: Mapping[str, str], *, doing: str) -> bytes:
        """GET ``path`` and return the body. Raises KubeError."""
        with translated(doing):
            response = await self._streams.get(path, params=params)
        if response.is_error:
            raise _status_error(response, doing)
        return response.content

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """PATCH ``path`` by a JSON merge patch under our field manager, and return the body. Raises KubeError.

        For what is too large to be made of values and into values on the way.
        """
        headers, params = {"Content-Type": "application/merge-patch+json"}, {"fieldManager": self.field_manager}
        with translated(doing):
            response = await self._streams.patch(path, content=patch, params=params, headers=headers)
        if response.is_error:
            raise _status_error(response, doing)
        return response.content

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], *, doing: str) -> AsyncIterator[httpx2.Response]:
        """GET ``path`` and give the response while its body arrives. Raises KubeError, in the block as well."""
        # Compression would hold events back until a block of them is full.
        headers = {"Accept-Encoding": "identity"}
        with translated(doing):
            async with self._streams.stream("GET", path, params=params, headers=headers, timeout=_SILENT) as response:
                if response.is_error:
                    await response.aread()
                    raise _status_error(response, doing)
                yield response


_SILENT = httpx2.Timeout(connect=5.0, read=None, write=10.0, pool=10.0)


def _status_error(response: httpx2.Response, doing: str) -> Exception:
    """Make the error of a Status object, or of whatever else came."""
    try:
        status: Any = response.json()
        return error_of(response.status_code, str(status["message"]), doing=doing, reason=str(status.get("reason", "")))
    except (ValueError, KeyError, TypeError):
        return error_of(response.status_code, response.text, doing=doing)


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
    transport = await asyncio.to_thread(_transport, config)
    api = await asyncio.to_thread(_api, config, transport, field_manager)
    auth = user_auth(config.user) if config.user and not config.user.token_file else None
    streams = httpx2.AsyncClient(base_url=config.cluster.server, auth=auth, timeout=TIMEOUT, transport=transport)
    async with api:
        yield Client(api, streams, field_manager=field_manager)


def _api(config: SingleConfig, transport: ApiTransport, field_manager: str) -> lightkube.AsyncClient:
    return lightkube.AsyncClient(
        config=_without_token_file(config),
        timeout=TIMEOUT,
        transport=transport,
        field_manager=field_manager,
    )


def load_config(kubeconfig: Path | None) -> SingleConfig:
    """Find the configuration; blocks. Raises ConfigError if there is no usable one."""
    if kubeconfig is not None or "KUBECONFIG" in os.environ:
        config = KubeConfig.from_file(kubeconfig or os.environ["KUBECONFIG"]).get()
    else:
        config = KubeConfig.from_env().get()
    if config is None or config.user is None:
        raise ConfigError("the Kubernetes configuration names no user: set current-context, with a cluster and a user")
    return config


def _transport(config: SingleConfig) -> ApiTransport:
    user = config.user or User()
    verify = verify_cluster(config.cluster, user, config.abs_file)
    token_file = TokenFile(Path(config.abs_file(user.token_file))) if user.token_file else None
    return ApiTransport(
        httpx2.AsyncHTTPTransport(verify=verify, limits=_LIMITS, socket_options=_ALIVE),
        token_file,
    )


def _without_token_file(config: SingleConfig) -> SingleConfig:
    """The configuration for lightkube, which must not add a token when the transport does."""
    return config._replace(user=User()) if config.user and config.user.token_file else config
