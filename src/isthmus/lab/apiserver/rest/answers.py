"""Answers: JSON, Status, streams; each an ASGI response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.objects import encode_json

WARNING_LIMIT, WARNINGS_LIMIT = 256, 4096
"""Characters of one warning, and of all headers that tell such with an answer."""

NO_CACHE = {"Cache-Control": "no-cache, private"}


def json_answer(content: Any, *, status: int = 200, warnings: Iterable[str] = ()) -> Response:
    """``content`` is a value to be encoded, or bytes of JSON."""
    body = content if isinstance(content, bytes) else encode_json(content)
    response = Response(body, status, NO_CACHE, "application/json")
    warn(response, warnings)
    return response


def warn(response: Response, warnings: Iterable[str]) -> None:
    """Tell something with an answer that is none of its content, beside what is told with it already."""
    left = WARNINGS_LIMIT - sum(map(len, response.headers.getlist("Warning")))
    for warning in map(_quoted, warnings):
        left -= len(warning)
        if left < 0:
            return
        response.headers.append("Warning", warning)


def _quoted(warning: str) -> str:
    """A warning as a header holds it (RFC 9110 §5.6.4), cut as Kubernetes' API server cuts it."""
    text = warning[:WARNING_LIMIT].replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{"".join(one if " " <= one <= "~" else "?" for one in text)}"'


def text_answer(text: str, *, status: int = 200) -> Response:
    return Response(text, status, NO_CACHE, "text/plain")


def status_answer(error: StatusError) -> Response:
    return Response(encode_json(error.status()), error.code, {**NO_CACHE, **error.headers}, "application/json")


class _EndedError(Exception):
    """The client closed the connection or the server stops: whatever is being sent has no reader."""


class Stream:
    """A streamed answer. It ends when ``chunks`` does, the client goes away or ``stopping`` is set.

    ``ended`` is called in every case.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        *,
        media_type: str,
        ended: Callable[[], None] | None = None,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._chunks = chunks
        self._stopping = stopping
        self._media_type = media_type
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                waiters = [group.create_task(_wait_gone(receive), name="wait for the client to go")]
                if self._stopping is not None:
                    waiters.append(
                        group.create_task(_wait_stopping(self._stopping), name="wait for the server to stop")
                    )
                await self._send(send)
                for waiter in waiters:
                    waiter.cancel()
        except* _EndedError:
            pass
        finally:
            if self._ended is not None:
                self._ended()

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", self._media_type.encode()), (b"cache-control", b"no-cache, private")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _EndedError


async def _wait_stopping(stopping: asyncio.Event) -> None:
    await stopping.wait()
    raise _EndedError
