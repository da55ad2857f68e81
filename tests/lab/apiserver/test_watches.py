"""Watches over the wire: each watcher sees every change once, in order, or is told that it has to begin anew."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx2
import pytest
from starlette.types import Message
from tests.lab.apiserver import watch_story as story
from tests.lab.apiserver.clients import http_client, running
from tests.lab.apiserver.watch_story import CONFIG_MAPS, EVERYWHERE, LAST, Watching

from isthmus.lab.apiserver import Settings
from isthmus.lab.apiserver.kinds import Registry
from isthmus.lab.apiserver.objects import Key, Stored
from isthmus.lab.apiserver.rest.options import list_options
from isthmus.lab.apiserver.rest.target import Target
from isthmus.lab.apiserver.rest.watching import WatchRequest, open_watch
from isthmus.lab.apiserver.storage import Event, Window
from isthmus.lab.apiserver.storage.state import State

WRITERS, WATCHERS, CHANGES = 6, 12, 45


def chance(origin: Random | int) -> Random:
    """A test's choices: the same in each run, though the order of what is concurrent is not."""
    return Random(origin if isinstance(origin, int) else origin.random())  # noqa: S311  (not for secrets)


async def tell(http: httpx2.AsyncClient, random: Random) -> list[Watching]:
    """Writers and watchers at once. The first watcher never breaks off: it sees what happened."""
    reference = Watching(CONFIG_MAPS)
    paths, tiers = (CONFIG_MAPS, EVERYWHERE), ("red", "green", None)
    others = [Watching(random.choice(paths), random.choice(tiers)) for _ in range(WATCHERS)]
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(story.watch(http, reference, None))
        for watching in others:
            group.create_task(story.watch(http, watching, chance(random)))
        async with asyncio.TaskGroup() as writing:
            writers = [
                writing.create_task(story.write(http, number, chance(random), changes=CHANGES))
                for number in range(WRITERS)
            ]
        await story.end(http)
    acknowledged = set[int]().union(*(one.result() for one in writers))
    changes = story.history(reference).values()
    assert acknowledged == {one.revision for one in changes if one.kind != "DELETED" and one.name != LAST}
    return [reference, *others]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_watchers_see_every_change_once_in_order(tmp_path: Path, seed: int) -> None:
    """Each connection shows what happened since the revision it was asked for, or 410; each list is of one revision."""
    settings = Settings(tmp_path, window=Window(events=60))
    async with running(settings) as server, http_client(server) as http:
        reference, *others = await tell(http, chance(seed))
    changes = story.history(reference)
    for watching in others:
        story.check(changes, watching)
    assert sum(len(one.segments) for one in others) > 2 * WATCHERS, "watchers broke off and resumed"
    assert any(one.gone for one in others), "some resumed from what was gone"


def change(revision: int) -> Event:
    data = b'{"metadata":{"resourceVersion":"%d"}}' % revision
    return Event(Stored(Key("configmaps", "default", f"n{revision}"), revision, data), None, deleted=False)


async def test_what_comes_as_a_wait_ends_is_not_passed_over() -> None:
    """An event that arrives in the same moment as the timeout is told before a bookmark goes past it."""
    state = State(revision=0, compacted=0, window=Window())
    watcher = state.watch("configmaps", "")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(watcher.wait_events(0.01))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.011, state.apply, change(1))
        time.sleep(0.02)  # noqa: ASYNC251  # the loop is late: timeout and event are due together
    assert [one.revision for one in waiting.result()] == [1]


async def test_a_streamed_list_ends_at_its_own_revision() -> None:
    """What is written while the list is on its way comes after the bookmark that ends the list, not before it."""
    state = State(revision=0, compacted=0, window=Window())
    state.apply(change(1))
    resource = Registry().at("", "v1", "configmaps")
    assert resource is not None
    query = {"watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    options = list_options({**query, "timeoutSeconds": "1"}, resource)
    stream = open_watch(state, WatchRequest(Target(resource), options, None, lambda: datetime.now(UTC)))
    lines: list[tuple[str, str]] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            state.apply(change(2))
        for line in message.get("body", b"").splitlines():
            event = json.loads(line)
            lines.append((event["type"], event["object"]["metadata"]["resourceVersion"]))
            if len(lines) == 3:
                state.close_watchers()

    await stream({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]  # a client that never goes
    assert lines == [("ADDED", "1"), ("BOOKMARK", "1"), ("ADDED", "2")]


async def test_a_watch_from_the_future_is_refused(tmp_path: Path) -> None:
    """Nobody waits for a version that this server never gave: clients list again, and go on."""
    async with running(Settings(tmp_path)) as server, http_client(server) as http:
        answer = await http.get(CONFIG_MAPS, params={"watch": "true", "resourceVersion": "1000000"})
    assert (answer.status_code, answer.json()["reason"]) == (504, "Timeout")
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_watcher_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    """What waits for it is bounded; when it reads on it is told that it has to list again, and nothing is missing."""
    settings = Settings(tmp_path, window=Window(backlog=16))
    async with running(settings) as server, http_client(server) as http:
        version = (await http.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version}
        async with http.stream("GET", CONFIG_MAPS, params=query) as response:
            for number in range(64):
                body = {**story.config_map(f"n{number}", None), "data": {"fill": "x" * 500_000}}
                assert (await http.post(CONFIG_MAPS, json=body)).status_code == 201
            events = [json.loads(line) async for line in response.aiter_lines()]
    *told, last = events
    assert (last["type"], last["object"]["code"]) == ("ERROR", 410)
    assert [one["object"]["metadata"]["name"] for one in told] == [f"n{number}" for number in range(len(told))]
    assert len(told) < 64
