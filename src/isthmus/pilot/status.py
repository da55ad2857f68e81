"""Serve: what the administrator is told, in the status of each resource.

Each replica writes its own entry in the status of a peer; the rest is the leader's. Writes are coalesced: the first few
of a burst at once, then one a second for each resource, and always the last.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol

import msgspec
import structlog
from lightkube.types import PatchType

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshPeer
from isthmus.api.meta import Condition
from isthmus.backoff import Backoff
from isthmus.federation.conditions import (
    UP_TO_DATE,
    accepted,
    export_problems,
    import_problems,
    refused_peer,
    settled,
    up_to_date,
    without_peer,
)
from isthmus.federation.export_table import ExportTable
from isthmus.federation.selection import Problem, QualifiedName
from isthmus.federation.status import from_json, to_json
from isthmus.kube import Client, WorkQueue
from isthmus.kube.errors import NotFound, translated
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link

log = structlog.get_logger(__name__)

WRITES_PER_S = 1.0
BURST = 4.0
"""Writes that may follow each other at once after a quiet time: a link that goes up makes three or four changes, and
whoever has just created the resource is waiting for the last."""
REST_S = 0.1
REST_PER_SERVICE_S = 0.001
"""How long a status is left alone after a look, and how much longer for each service that it lists: reading, comparing
and writing ten thousand takes most of a second, and must not be most of what a control plane does as they change."""
Kind = type[ServiceMeshPeer] | type[ExportedServiceSet] | type[ImportedServiceSet]
Resource = ServiceMeshPeer | ExportedServiceSet | ImportedServiceSet
_Key = tuple[Kind, str]


@dataclass(slots=True)
class _Pace:
    """How many writes one resource may still have at once; 0 <= tokens <= BURST."""

    tokens: float = BURST
    seen_at: float = 0.0
    rests_until: float = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next look, and write, may be made; 0 if it may be now."""
        self.tokens = min(BURST, self.tokens + (now - self.seen_at) * WRITES_PER_S)
        self.seen_at = now
        return max(0.0, (1.0 - self.tokens) / WRITES_PER_S, self.rests_until - now)

    def written(self) -> None:
        """A write was made."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def looked(self, now: float, *, services: int) -> None:
        """The status was looked at, which lists so many services."""
        self.rests_until = now + REST_S + services * REST_PER_SERVICE_S


@dataclass(frozen=True, slots=True)
class _Present:
    """The status as it stands in the cluster: as JSON, and its conditions."""

    stored: dict[str, Any]
    conditions: Sequence[Condition]

    def without(self, type_: str) -> "_Present":
        """The same without the condition of that type."""
        return _Present(self.stored, [each for each in self.conditions if each.type != type_])


class Facts(Protocol):
    """What the status is made of, besides links and exports."""

    def own_pods(self) -> Collection[str]:
        """The names of all pods of the control plane's namespace."""

    def local_ports(self, name: QualifiedName) -> Collection[int] | None:
        """The TCP ports of a Service that federation did not make; None if there is no such Service."""


class StatusWriter:
    """Writes the status of peers and of their export and import sets."""

    def __init__(
        self,
        client: Client,
        facts: Facts,
        leadership: Leadership,
        *,
        namespace: str,
        links: Mapping[str, Link],
        exports: Mapping[str, ExportTable],
    ) -> None:
        """``links`` and ``exports`` are those of all peers by name, live."""
        self._client = client
        self._facts = facts
        self._leadership = leadership
        self._namespace = namespace
        self._links = links
        self._exports = exports
        self._generations: dict[_Key, int | None] = {}
        self._pace: dict[_Key, _Pace] = {}
        self.writes: Counter[str] = Counter()
        """How often the status of a resource was written, by kind."""
        self._queue: WorkQueue[_Key] = WorkQueue("status", backoff=Backoff(first_s=0.05, longest_s=5.0))
        self._bodies: dict[Kind, Callable[[str, _Present], dict[str, Any] | None]] = {
            ServiceMeshPeer: self._peer,
            ExportedServiceSet: self._exported,
            ImportedServiceSet: self._imported,
        }
        leadership.subscribe(self._lead_changed)

    @property
    def queue(self) -> WorkQueue[_Key]:
        """What waits to be looked at."""
        return self._queue

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        await self._queue.run(self._write, workers=4)

    def peer_changed(self, peer: str) -> None:
        """The link to this peer fares differently."""
        self._queue.add((ServiceMeshPeer, peer))

    def sets_changed(self, peer: str) -> None:
        """Other services are exported to this peer, imported from it, or on offer."""
        self._queue.add((ExportedServiceSet, peer))
        self._queue.add((ImportedServiceSet, peer))

    def looked_at(self, name: str, *resources: Resource | None) -> None:
        """What is served now is made from these resources of that name."""
        for each in resources:
            if each is not None:
                self._generations[type(each), name] = each.metadata.generation

    def pods_changed(self) -> None:
        """A pod of the control plane's namespace has come or gone."""
        if self._leadership.is_leading:
            for name in self._links:
                self.peer_changed(name)

    def _lead_changed(self) -> None:
        if self._leadership.is_leading:
            peers: set[_Key] = {(ServiceMeshPeer, name) for name in self._links}
            for key in peers | self._generations.keys():
                self._queue.add(key)

    async def _write(self, key: _Key) -> timedelta | None:
        pace = self._pace.setdefault(key, _Pace())
        wait_s = pace.wait_s(asyncio.get_running_loop().time())
        if wait_s > 0:
            return timedelta(seconds=wait_s)
        kind, name = key
        try:
            services = await self._patch(kind, name)
            pace.looked(asyncio.get_running_loop().time(), services=services)
        except NotFound:
            self._pace.pop(key, None)
        return None

    async def _patch(self, kind: Kind, name: str) -> int:
        """Read, merge, write; a write in between makes the API server refuse ours, and the queue tries again.

        Returns how many services the status lists.
        """
        with translated(f"read {kind.__name__} {self._namespace}/{name}"):
            current = await self._client.api.get(kind, name, namespace=self._namespace)
        present = current.status
        stored = _jsonable(present) if present is not None else {}
        conditions = present.conditions if present is not None else ()
        body = self._bodies[kind](name, _Present(stored, conditions))
        if body is None or all(stored.get(field) == value for field, value in body.items()):
            return _listed(body)
        patch = {"metadata": {"resourceVersion": current.metadata.resourceVersion}, "status": body}
        self._pace.setdefault((kind, name), _Pace()).written()
        with translated(f"write the status of {kind.__name__} {self._namespace}/{name}"):
            await self._client.api.patch(
                kind.Status, name, patch, namespace=self._namespace, patch_type=PatchType.MERGE
            )
        self.writes[kind.__name__] += 1
        return _listed(body)

    def _peer(self, name: str, present: _Present) -> dict[str, Any] | None:
        link = self._links.get(name)
        if link is None:
            return None
        discovery = from_json(present.stored.get("discoveryStatus")).merged(link.pruned_entry())
        if not self._leadership.is_leading:
            return {"discoveryStatus": to_json(discovery)}
        alive = self._facts.own_pods()
        if link.entry.pod in alive:  # else what we see of the pods is not all of them
            discovery = discovery.without_pods_but(alive)
        problems = [link.refusal] if link.refusal is not None else []
        return {
            "discoveryStatus": to_json(discovery),
            **self._conditions((ServiceMeshPeer, name), present, [accepted(problems)]),
        }

    def _exported(self, name: str, present: _Present) -> dict[str, Any] | None:
        if not self._leadership.is_leading:
            return None
        table = self._exports.get(name)
        problems = [*self._peer_problems("ExportedServiceSet", name), *(export_problems(table) if table else ())]
        return {
            "exportedServices": _jsonable(table.status() if table is not None else ()),
            **self._conditions((ExportedServiceSet, name), present, [accepted(problems)]),
        }

    def _imported(self, name: str, present: _Present) -> dict[str, Any] | None:
        if not self._leadership.is_leading:
            return None
        link = self._links.get(name)
        found = import_problems(link.imports, self._facts.local_ports) if link is not None else ()
        chosen = link.policy.problems if link is not None else ()
        conditions = [accepted([*self._peer_problems("ImportedServiceSet", name), *found, *chosen])]
        if link is not None and (link.away_since is not None or link.entry.watch.connected):
            conditions.append(up_to_date(link.away_since, link.availability))
        if link is None:  # there is no peer of which anything could be old
            present = present.without(UP_TO_DATE)
        return {
            "importedServices": _jsonable(link.imports.status() if link is not None else ()),
            **self._conditions((ImportedServiceSet, name), present, conditions),
        }

    def _peer_problems(self, kind: str, name: str) -> list[Problem]:
        link = self._links.get(name)
        if link is None:
            return [without_peer(kind, name)]
        return [refused_peer(kind, name)] if link.refusal is not None else []

    def _conditions(self, key: _Key, present: _Present, found: Sequence[Condition]) -> dict[str, Any]:
        generation = self._generations.get(key)
        conditions = settled(present.conditions, found, generation=generation, now=datetime.now(UTC))
        return {"conditions": _jsonable(conditions), "observedGeneration": generation}


def _listed(body: Mapping[str, Any] | None) -> int:
    return sum(len((body or {}).get(each, ())) for each in ("exportedServices", "importedServices"))


def _jsonable(value: object) -> Any:
    """The value as it stands in JSON: lists for tuples, texts for times."""
    return msgspec.json.decode(msgspec.json.encode(value))
