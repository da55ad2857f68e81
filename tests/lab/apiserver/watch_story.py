"""A story of writers and watchers on one server, and the check of what each watcher saw against what happened.

Watchers do what clients do: list and watch, stream the list, break off in the middle of a line, let the server end the
watch, resume from the last event, from a bookmark or from long ago, fall behind, and begin anew after a 410.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

SECRETS, CONFIG_MAPS = "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/configmaps"
EVERYWHERE = "/api/v1/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
LAST, EVERY = "the-end", "every"
"""The last object of a story, and its tier, which all watchers select."""

TIERS = ("red", "green", None)
GONE = 410

State = Mapping[str, tuple[int, str | None]]
"""Objects by name: their revision and their tier."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a watcher read it."""

    kind: str
    revision: int
    name: str
    tier: str | None


@dataclass(frozen=True, slots=True)
class Segment:
    """What one watch showed after revision ``since`` and up to ``until``. ``listed``: what it began with, if anew."""

    since: int
    until: int
    events: list[Seen]
    listed: State | None = None


@dataclass(slots=True)
class Watching:
    """One watcher: how it watches, and all that it saw."""

    path: str = EVERYWHERE
    tier: str | None = None
    segments: list[Segment] = field(default_factory=list)
    gone: int = 0
    ended: bool = False

    @property
    def chosen(self) -> dict[str, str]:
        return {"labelSelector": f"tier in ({self.tier},{EVERY})"} if self.tier else {}


def config_map(name: str, tier: str | None) -> dict[str, Any]:
    labels = {"labels": {"tier": tier}} if tier else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **labels}}


async def end(http: httpx2.AsyncClient) -> None:
    """Write the last object, which every watcher waits for."""
    assert (await http.post(CONFIG_MAPS, json=config_map(LAST, EVERY))).status_code == 201


async def write(http: httpx2.AsyncClient, writer: int, random: Random, *, changes: int) -> set[int]:
    """Create, change and delete objects of one's own; the revisions that were acknowledged with an object."""
    revisions: set[int] = set()
    names: dict[str, None] = {}
    for number in range(changes):
        tier = random.choice(TIERS)
        match random.choice(("create", "patch", "patch", "delete", "secret")) if names else "create":
            case "create":
                name = f"w{writer}-{number}"
                answer = await http.post(CONFIG_MAPS, json=config_map(name, tier))
                names[name] = None
            case "patch":
                patch = {"metadata": {"labels": {"tier": tier}}, "data": {"n": str(number)}}
                url = f"{CONFIG_MAPS}/{random.choice(list(names))}"
                answer = await http.patch(url, content=json.dumps(patch), headers=MERGE)
            case "delete":
                name = random.choice(list(names))
                del names[name]
                assert (await http.delete(f"{CONFIG_MAPS}/{name}")).status_code == 200
                continue
            case _:  # moves the revision without an event for the watchers
                await http.post(SECRETS, json={"metadata": {"name": f"s{writer}-{number}"}})
                continue
        assert answer.status_code in (200, 201), answer.text
        revisions.add(int(answer.json()["metadata"]["resourceVersion"]))
    return revisions


async def watch(http: httpx2.AsyncClient, watching: Watching, random: Random | None) -> None:
    """Watch until the last object is seen; without ``random``, without ever breaking off."""
    since: int | None = None
    while not watching.ended:
        connection = Connection(since)
        if since is None and (random is None or random.random() < 0.5):
            await connection.list(http, watching)
        try:
            await connection.read(http, watching, Manners.some(random))
        except GoneError:
            watching.gone += 1
            since = None
            continue
        if (segment := connection.segment()) is None:
            continue
        watching.segments.append(segment)
        watching.ended = connection.ended
        known = [segment.until, *(one.revision for one in segment.events)]
        since = random.choice(known) if random and random.random() < 0.3 else segment.until


class GoneError(Exception):
    """The server said 410."""


def _revision(obj: Any) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _tier(obj: Any) -> str | None:
    tier: str | None = obj["metadata"].get("labels", {}).get("tier")
    return tier


@dataclass(frozen=True, slots=True)
class Manners:
    """How one connection is read: until when, how fast, and whether the server is asked to end it."""

    patience: int = 1_000_000
    timeout_s: int = 0
    slow: bool = False

    @classmethod
    def some(cls, random: Random | None) -> Manners:
        if random is None:
            return cls()
        patience = random.randrange(80) if random.random() < 0.7 else 1_000_000
        return cls(patience, timeout_s=int(random.random() < 0.3), slow=random.random() < 0.2)


class Connection:
    """One watch, from its beginning to its end, which may be ours. Without ``since`` it streams the list first."""

    def __init__(self, since: int | None) -> None:
        self.ended = False
        self._since = since
        self._until = since or 0
        self._listed: dict[str, tuple[int, str | None]] | None = None
        self._events: list[Seen] = []

    async def list(self, http: httpx2.AsyncClient, watching: Watching) -> None:
        document = (await http.get(watching.path, params=watching.chosen)).json()
        self._since = self._until = int(document["metadata"]["resourceVersion"])
        self._listed = {one["metadata"]["name"]: (_revision(one), _tier(one)) for one in document["items"]}
        self.ended = LAST in self._listed

    async def read(self, http: httpx2.AsyncClient, watching: Watching, manners: Manners) -> None:
        """Raises GoneError when the server no longer has what is asked for."""
        if self.ended:
            return
        query = {"allowWatchBookmarks": "true", "watch": "true", **watching.chosen}
        if manners.timeout_s:
            query["timeoutSeconds"] = str(manners.timeout_s)
        if self._since is None:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._listed = {}
        else:
            query["resourceVersion"] = str(self._since)
        async with aclosing(_lines(http, watching.path, query, slow=manners.slow)) as lines:
            async for line in lines:
                if self._take(line["type"], line["object"]) or len(self._events) > manners.patience:
                    return

    def _take(self, kind: str, obj: Any) -> bool:
        """Note one line of the stream; True when it was the last."""
        if kind == "ERROR":
            assert obj["code"] == GONE, obj
            raise GoneError
        if kind == "BOOKMARK":
            self._until = _revision(obj)
            if self._since is None:
                self._since = self._until
                self.ended = self._listed is not None and LAST in self._listed
        elif self._since is None and self._listed is not None:
            assert kind == "ADDED"
            self._listed[obj["metadata"]["name"]] = (_revision(obj), _tier(obj))
        else:
            self._until = _revision(obj)
            self._events.append(Seen(kind, self._until, obj["metadata"]["name"], _tier(obj)))
            self.ended = obj["metadata"]["name"] == LAST
        return self.ended

    def segment(self) -> Segment | None:
        """What was seen; None when it broke off within the list."""
        return None if self._since is None else Segment(self._since, self._until, self._events, self._listed)


async def _lines(
    http: httpx2.AsyncClient, path: str, query: Mapping[str, str], *, slow: bool
) -> AsyncGenerator[dict[str, Any]]:
    async with http.stream("GET", path, params=query) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            yield json.loads(line)
            if slow:
                await asyncio.sleep(0.005)


def history(reference: Watching) -> dict[int, Seen]:
    """Every change by its revision, as a watcher saw it that was there from the start to the end."""
    (segment,) = reference.segments
    revisions = [one.revision for one in segment.events]
    assert revisions == sorted(set(revisions)), "the events of one watch are in the order of their revisions"
    return {one.revision: one for one in segment.events}


def state_at(changes: Mapping[int, Seen], revision: int) -> State:
    state: dict[str, tuple[int, str | None]] = {}
    for number in sorted(one for one in changes if one <= revision):
        change = changes[number]
        state.pop(change.name, None)
        if change.kind != "DELETED":
            state[change.name] = (number, change.tier)
    return state


def expected_events(changes: Mapping[int, Seen], segment: Segment, tier: str | None) -> list[Seen]:
    """What a watch with that selection has to show, by the obvious way: replay all and compare."""
    state = dict(state_at(changes, segment.since))
    events = []
    for revision in sorted(one for one in changes if segment.since < one <= segment.until):
        change = changes[revision]
        before = state.pop(change.name, None)
        after = None if change.kind == "DELETED" else (revision, change.tier)
        if after:
            state[change.name] = after
        was, is_now = _chosen(before, tier), _chosen(after, tier)
        if was or is_now:
            kind = "DELETED" if not is_now else "MODIFIED" if was else "ADDED"
            events.append(Seen(kind, revision, change.name, change.tier))
    return events


def _chosen(place: tuple[int, str | None] | None, tier: str | None) -> bool:
    return place is not None and (tier is None or place[1] in (tier, EVERY))


def check(changes: Mapping[int, Seen], watching: Watching) -> None:
    """Each watch showed every change since its beginning once, in order; each list is the state of its revision."""
    for segment in watching.segments:
        assert segment.events == expected_events(changes, segment, watching.tier)
        if segment.listed is not None:
            wanted = {k: v for k, v in state_at(changes, segment.since).items() if _chosen(v, watching.tier)}
            assert segment.listed == wanted
