"""A server that is killed again and again while clients write, and the check that nothing acknowledged was lost.

Each writer has objects of its own and does one thing at a time; what it was doing when the server died may have
happened or not, but only as a whole. Watchers resume from the last version that they saw, across all lives of the
server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2
from tests.lab.apiserver.clients import http_client

from isthmus.lab.apiserver import Started

SERVE = Path(__file__).with_name("serve.py")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WRITERS, WATCHERS, OBJECTS = 8, 3, 25

Value = str | None
"""What an object says; None when it is not there."""


@asynccontextmanager
async def life(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx2.AsyncClient]]:
    """One life of the server, as a process of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(SERVE), str(data), stdout=pipe)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        told = json.loads(await process.stdout.readline())
    server = Started(**{**told, "ca": told["ca"].encode(), "admin_certificate": None})
    try:
        async with http_client(server) as http:
            yield process, http
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@dataclass(slots=True)
class Writer:
    """What one writer knows: the values that were acknowledged, and what it was doing."""

    number: int
    random: Random
    known: dict[str, Value] = field(default_factory=dict)
    doing: tuple[str, Value] | None = None
    count: int = 0

    async def write(self, http: httpx2.AsyncClient) -> None:
        """Create, replace or delete one object."""
        name = f"w{self.number}-{self.random.randrange(OBJECTS)}"
        before = self.known.get(name)
        after = None if before is not None and self.random.random() < 0.3 else f"{self.number}.{self.count}"
        self.doing = (name, after)
        answer = await self._send(http, name, before, after)
        assert answer.status_code in (200, 201), answer.text
        self.known[name], self.doing = after, None
        self.count += 1

    async def _send(self, http: httpx2.AsyncClient, name: str, before: Value, after: Value) -> httpx2.Response:
        if after is None:
            return await http.delete(f"{CONFIG_MAPS}/{name}")
        body = {"metadata": {"name": name}, "data": {"one": after, "fill": "x" * 500, "two": after}}
        if before is None:
            return await http.post(CONFIG_MAPS, json=body)
        return await http.put(f"{CONFIG_MAPS}/{name}", json=body)

    def check(self, stored: dict[str, Value]) -> None:
        """All that was acknowledged is there; what was under way has happened or not, and is known from now on."""
        if self.doing is not None:
            name, after = self.doing
            assert stored.get(name) in (self.known.get(name), after)
            self.known[name], self.doing = stored.get(name), None
        mine = {name: value for name, value in stored.items() if name.startswith(f"w{self.number}-")}
        assert mine == {name: value for name, value in self.known.items() if value is not None}


@dataclass(slots=True)
class Informer:
    """A copy of all objects, kept by events alone; ``lists`` counts how often it had to begin anew."""

    revision: int = 0
    objects: dict[str, Value] = field(default_factory=dict)
    lists: int = 0

    async def follow(self, http: httpx2.AsyncClient) -> None:
        """Until the connection ends."""
        if not self.revision:
            self.revision, self.objects = await listed(http)
            self.lists += 1
        query = {"watch": "true", "resourceVersion": str(self.revision)}
        async with http.stream("GET", CONFIG_MAPS, params=query, timeout=None) as response:
            async for line in response.aiter_lines():
                self._take(json.loads(line))

    def _take(self, event: Any) -> None:
        if event["type"] == "ERROR":
            assert event["object"]["code"] == 410, event
            self.revision = 0
            return
        name, revision = event["object"]["metadata"]["name"], int(event["object"]["metadata"]["resourceVersion"])
        assert revision > self.revision, "each event once, in order"
        assert (name in self.objects) == (event["type"] != "ADDED"), "no event was missed"
        self.revision = revision
        self.objects[name] = value_of(event["object"])
        if event["type"] == "DELETED":
            del self.objects[name]


def value_of(obj: Any) -> str:
    """What an object says; it must say it twice, or half of it was written."""
    assert obj["data"]["one"] == obj["data"]["two"]
    value: str = obj["data"]["one"]
    return value


async def listed(http: httpx2.AsyncClient) -> tuple[int, dict[str, Value]]:
    document = (await http.get(CONFIG_MAPS)).json()
    ours = [one for one in document["items"] if one["metadata"]["name"].startswith("w")]
    return int(document["metadata"]["resourceVersion"]), {one["metadata"]["name"]: value_of(one) for one in ours}


async def survive(data: Path, random: Random, *, rounds: int, writes: int) -> tuple[int, list[Informer]]:
    """Kill the server ``rounds`` times, each at random within ``writes`` writes; how many were acknowledged in all."""
    writers = [Writer(number, random) for number in range(WRITERS)]
    informers = [Informer() for _ in range(WATCHERS)]
    for _ in range(rounds):
        async with life(data) as (process, http):
            await _settled(http, writers, informers)
            await _write_until_killed(process, http, writers, informers, within=random.randrange(1, writes))
    async with life(data) as (_, http):
        await _settled(http, writers, informers)
    return sum(writer.count for writer in writers), informers


async def _settled(http: httpx2.AsyncClient, writers: list[Writer], informers: list[Informer]) -> None:
    """After a start: the store has all that was acknowledged, and watchers that resume come to know the same."""
    revision, stored = await listed(http)
    for writer in writers:
        writer.check(stored)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for informer in informers:
            following = group.create_task(_until_gone(informer, http))
            while informer.objects != stored:
                assert informer.revision <= revision
                await asyncio.sleep(0.005)
            following.cancel()


async def _write_until_killed(
    process: asyncio.subprocess.Process,
    http: httpx2.AsyncClient,
    writers: list[Writer],
    informers: list[Informer],
    *,
    within: int,
) -> None:
    goal = sum(writer.count for writer in writers) + within
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for informer in informers:
            group.create_task(_until_gone(informer, http))
        for writer in writers:
            group.create_task(_write_until_gone(writer, http))
        while sum(writer.count for writer in writers) < goal:
            await asyncio.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def _write_until_gone(writer: Writer, http: httpx2.AsyncClient) -> None:
    try:
        while True:
            await writer.write(http)
    except httpx2.TransportError:
        return


async def _until_gone(informer: Informer, http: httpx2.AsyncClient) -> None:
    try:
        while True:
            await informer.follow(http)
    except httpx2.TransportError:
        return
