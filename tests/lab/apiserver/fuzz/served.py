"""A server for a whole module of tests that are not coroutines: on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from tests.lab.apiserver.clients import running

from isthmus.lab.apiserver import Settings, Started
from isthmus.lab.pod_logs import LogRequest


class OneLine:
    """Logs of pods: a line."""

    async def open(self, wanted: LogRequest) -> AsyncIterator[bytes]:
        return _lines(str(wanted))


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
        assert not thread.is_alive(), "the server does not stop"


async def _serve(data_dir: Path, started: Future[Started], ended: threading.Event) -> None:
    try:
        async with running(Settings(data_dir), logs=OneLine()) as server:
            started.set_result(server)
            await asyncio.to_thread(ended.wait)
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise
