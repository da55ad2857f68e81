"""A server for a whole module of tests that are not coroutines: on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.lab.apiserver.clients import running

from isthmus.lab.apiserver import Settings, Started


class OneLine:
    """Logs of pods: a line."""

    async def open(  # the port's own options
        self,
        *,
        namespace: str,
        pod: str,
        uid: str,
        container: str,
        follow: bool,
        tail_lines: int | None,
        since: datetime | None,
        timestamps: bool,
        previous: bool,
    ) -> AsyncIterator[bytes]:
        asked = f"{namespace} {pod} {uid} {container} {follow} {tail_lines} {since} {timestamps} {previous}"
        return _lines(asked)


async def _lines(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield f"{text}\n".encode()


@contextmanager
def served(data_dir: Path) -> Iterator[Started]:
    """A server for the time of the block."""
    started: Future[Started] = Future()
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(data_dir, started, ended)), name="serve")
    thread.start()
    try:
        yield started.result(timeout=20)
    finally:
        ended.set()
        thread.join(timeout=20)


async def _serve(data_dir: Path, started: Future[Started], ended: threading.Event) -> None:
    try:
        async with running(Settings(data_dir), logs=OneLine()) as server:
            started.set_result(server)
            await asyncio.to_thread(ended.wait)
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise
