"""The discovery server: mutual TLS and HTTP/1.1 under ``discovery_app``.

uvicorn's protocol speaks HTTP; its ``Server`` is not used, because it owns the process (signals, exit codes) and ends
gracefully, while a watch never ends by itself. Source of the scope's extension: ASGI TLS extension 0.2.
"""

import asyncio
import socket
import ssl
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from isthmus.discovery.app import ABORT_EXTENSION
from isthmus.mutual_tls import ReplaceableContext

log = structlog.get_logger(__name__)

KEEP_ALIVE_S: Final = 2 * 3600
"""Longer than Envoy keeps an idle connection (1 h), so that it is never the server who closes it under a request."""
HANDSHAKE_TIMEOUT_S: Final = 10.0
UNANSWERED_MS: Final = 45_000
"""A connection that acknowledges nothing for three heartbeats is dead; the kernel then drops it (TCP_USER_TIMEOUT)."""
STOP_TIMEOUT_S: Final = 0.5


class DiscoveryServer:
    """Serves an ASGI application at one address until cancelled."""

    def __init__(self, app: ASGIApp, context: ssl.SSLContext, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._context = ReplaceableContext(context)
        self._state = _State()
        self._config = uvicorn.Config(
            app,
            http=_TlsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )

    def replace_context(self, context: ssl.SSLContext) -> None:
        """Serve new connections with another certificate or other roots; those that are open stay."""
        self._context.replace(context)

    async def run(self, started: "asyncio.Future[int]") -> None:
        """Serve until cancelled; ``started`` is set to the port once it listens.

        Raises OSError: the address cannot be listened on; ``started`` then fails with it too. On cancellation every
        connection is closed, after half a second at most.
        """
        try:
            server = await self._listen()
        except OSError as error:
            started.set_exception(error)
            raise
        async with server:
            port = server.sockets[0].getsockname()[1]
            log.info("discovery server listens", host=self._host, port=port)
            started.set_result(port)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                await self._drop_connections()

    async def _listen(self) -> asyncio.Server:
        self._config.load()
        return await asyncio.get_running_loop().create_server(
            lambda: _TlsProtocol(self._config, self._state),
            self._host,
            self._port,
            ssl=self._context.listening,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        )

    async def _drop_connections(self) -> None:
        """Break what is open: a watch is a stream that its client knows how to resume."""
        self._state.is_stopping = True
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_TIMEOUT_S)


class _State(ServerState):
    """What all connections of a server share."""

    is_stopping = False


class _TlsProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with what it leaves out of the scope: the client's certificate, and a way to break off."""

    def __init__(self, config: uvicorn.Config, state: _State) -> None:
        super().__init__(config, state, {})
        self._state = state

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        _drop_when_unanswered(transport)
        self._extensions = {
            "tls": _tls_extension(transport.get_extra_info("ssl_object")),
            ABORT_EXTENSION: {"abort": transport.abort},
        }
        if self._state.is_stopping:
            transport.abort()  # its handshake was under way when the others were dropped

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.transport.abort()  # uvicorn leaves a transport alone that was lost by an error

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions


def _tls_extension(connection: ssl.SSLObject) -> dict[Any, Any]:
    der = connection.getpeercert(binary_form=True) or b""
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": None,
        "cipher_suite": None,
    }


def _drop_when_unanswered(transport: asyncio.Transport) -> None:
    listening: socket.socket = transport.get_extra_info("socket")
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNANSWERED_MS // 3000)
