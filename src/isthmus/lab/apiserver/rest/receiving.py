"""The bytes of a request's body, bounded in size and time. What they mean is for ``body`` and ``oauth``."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from isthmus.lab.apiserver.errors import bad_request, body_too_slow, too_large


async def read_body(request: Request, *, limit: int, within_s: float) -> bytes:
    """The whole body, at most ``limit`` bytes.

    Raises StatusError: 413 as soon as it is over the limit, 408 when it takes too long, 400 for a length that is none.
    """
    if request.method in ("GET", "HEAD"):
        return b""
    _check_length(request.headers.get("content-length") or "0", limit)
    try:
        async with asyncio.timeout(within_s):
            return await _all_of(request, limit)
    except TimeoutError as error:
        raise body_too_slow(within_s) from error


def _check_length(length: str, limit: int) -> None:
    if not length.isascii() or not length.isdigit():
        raise bad_request(f'Invalid Content-Length "{length[:40]}": expected a number of bytes')
    if len(length) > 18 or int(length) > limit:
        raise too_large(limit)


async def _all_of(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)
