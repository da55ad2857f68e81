"""One client's connection: uvicorn's HTTP protocol with bounds, which tells the application the client's certificate.

Bounded are the time that a client may take for the head of a request, and the bytes of the head; what a body may take
the application bounds.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.rest.app import PEER_CERTIFICATE

LINGER_S = 0.2
"""How long a connection may take to end once the server stops, and is read from after a refusal.

While unread bytes come in, the end of a connection would take the answer with it."""

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's line and headers: selectors have 16 KiB, tokens some 2."""

_TOO_LARGE = StatusError(431, "RequestHeaderFieldsTooLarge", f"Request header fields too large: limit is {HEAD_LIMIT}")
_NOT_ASCII = StatusError(400, "BadRequest", "the path of a request has ASCII characters only: encode others as %XX")


class HttpProtocol(HttpToolsProtocol):
    """``head_within_s``: from the connection, or a request's first byte, to the end of its head."""

    head_within_s = 30.0
    _certificate: bytes | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _refused = False
    _head_bytes = 0
    _read_since = 0
    """Bytes of the reads after the one in which the last head began: the parser keeps what has no end yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self._certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._read_since += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._read_since > HEAD_LIMIT:
            self._refuse(_TOO_LARGE)

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is to be installed: an upgrade is answered as the request that it also is (RFC 9110 §7.8)."""

    def shutdown(self) -> None:
        """End the connection; a client that doesn't answer the end of TLS is not waited for."""
        super().shutdown()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope["extensions"] = {PEER_CERTIFICATE: self._certificate}
        self._head_bytes = self._read_since = 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        if self._counted(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._counted(len(name) + len(value) + 4):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_done()
        if self._refused:
            return
        if self._head_bytes > HEAD_LIMIT:
            self._refuse(_TOO_LARGE)
        elif not self.url.isascii():
            self._refuse(_NOT_ASCII)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def _counted(self, size: int) -> bool:
        """Whether the head is still within its bound; what comes after is not kept."""
        self._head_bytes += size
        return self._head_bytes <= HEAD_LIMIT

    def _refuse(self, error: StatusError) -> None:
        """Answer what the application can't be asked, and end the connection."""
        self._refused = True
        self._head_done()
        body = encode_json(error.status())
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (error.code, HTTPStatus(error.code).phrase.encode(), len(body), body)
        )
        self.loop.call_later(LINGER_S, self.transport.close)

    def _await_head(self) -> None:
        self._head_done()
        self._head_timer = self.loop.call_later(self.head_within_s, self.transport.abort)

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
