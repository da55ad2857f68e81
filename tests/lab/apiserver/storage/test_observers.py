"""Whoever is told of what is stored cannot keep it from being stored, told and answered."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from isthmus.lab.apiserver.objects import Encoded, Key, Stored
from isthmus.lab.apiserver.storage import Write
from isthmus.lab.apiserver.storage.state import Event
from isthmus.lab.apiserver.storage.store import open_store


def write(name: str) -> Write:
    return Write(Key("configmaps", "default", name), None, Encoded(b'{"metadata":{"resourceVersion":"', b'"}}'))


async def test_an_observer_that_fails_keeps_no_write_from_its_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All writes of a group are answered and in memory, the other observers hear of each, and the log has the error."""
    told: list[str] = []

    def fails(event: Event) -> None:
        if event.key.name in "bd":
            raise RuntimeError(f"no {event.key.name}")

    async with open_store(tmp_path) as store:
        store.observe(fails)
        store.observe(lambda event: told.append(event.key.name))
        with caplog.at_level(logging.ERROR):
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                tasks: list[asyncio.Task[Stored]] = [group.create_task(store.write(write(name))) for name in "abcde"]
        assert [task.result().revision for task in tasks] == [1, 2, 3, 4, 5]
        assert told == [one.key.name for one in store.state.listed("configmaps")] == list("abcde")
    assert "RuntimeError: no b" in caplog.text
    assert "on revision 2 of configmaps/default/b" in caplog.text
    assert "RuntimeError: no d" in caplog.text
