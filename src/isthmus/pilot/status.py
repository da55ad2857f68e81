"""Serve: what the administrator is told, in the status of each resource.

Each replica writes its own entry in the status of a peer; the rest is the leader's. Writes are coalesced: the first few
of a burst at once, then one a second for each resource, and always the last.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, Protocol

import msgspec
import structlog

from isthmus.api import ServiceMeshPeer
from isthmus.api.followed import FollowedExports, FollowedImports
from isthmus.api.meta import Condition, condition
from isthmus.backoff import Backoff
from isthmus.federation.causes import ACCEPTED, READY
from isthmus.federation.conditions import (
    FULLY_LISTED,
    UP_TO_DATE,
    accepted,
    export_problems,
    fully_listed,
    import_problems,
    refused_peer,
    settled,
    up_to_date,
    without_peer,
)
from isthmus.federation.export_table import ExportTable
from isthmus.federation.listing import Listing
from isthmus.federation.peer_conditions import PeerFacts, peer_conditions
from isthmus.federation.selection import Problem
from isthmus.federation.status import DiscoveryStatus, from_json, to_json
from isthmus.kube import Client, ObjectKey, Store, WorkQueue
from isthmus.kube.errors import NotFound
from isthmus.pilot.events import Events
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.pace import Pace
from isthmus.pilot.standing import Body, Key, Kind, Present, Resource, Standing, called, jsonable

log = structlog.get_logger(__name__)


class Facts(Protocol):
    """What the status is made of, besides links and exports; and the resources themselves."""

    peers: Store[ServiceMeshPeer]
    exports: Store[FollowedExports]
    imports: Store[FollowedImports]

    def own_pods(self) -> Collection[str]:
        """The names of all pods of the control plane's namespace."""


PeerFactsOf = Callable[[Link, DiscoveryStatus], PeerFacts]
"""What is known of a link, given what all replicas see of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is told of, and as whom; ``links`` and ``exports`` are those of all peers by name, live."""

    namespace: str
    leadership: Leadership
    links: Mapping[str, Link]
    exports: Mapping[str, ExportTable]
    peer_facts: PeerFactsOf
    events: Events


_SUMMARY: Mapping[Kind, str] = {ServiceMeshPeer: READY, FollowedExports: ACCEPTED, FollowedImports: ACCEPTED}
"""The condition that sums a resource up: its transitions are told in Events."""

_ALL_EXPORTS: Final = "isthmus preview with a set of this name without rules shows all, as what it would withdraw."
_ALL_IMPORTS: Final = "kubectl get endpointslices -A -l isthmus.io/peer={peer} shows all that are imported."


class StatusWriter:
    """Writes the status of peers and of their export and import sets."""

    def __init__(self, client: Client, facts: Facts, sources: Sources) -> None:
        """Nothing is written before :meth:`run`."""
        self._namespace = sources.namespace
        self._standing = Standing(client, namespace=sources.namespace)
        self._facts = facts
        self._leadership = sources.leadership
        self._links = sources.links
        self._exports = sources.exports
        self._peer_facts = sources.peer_facts
        self._events = sources.events
        self._generations: dict[Key, int | None] = {}
        self._pace: dict[Key, Pace] = {}
        self.writes: Counter[str] = Counter()
        """How often the status of a resource was written, by kind."""
        self._queue: WorkQueue[Key] = WorkQueue(
            "status",
            backoff=Backoff(first_s=0.05, longest_s=5.0),
            facts=lambda key: {"kind": key[0].__name__, "peer": key[1]},
        )
        self._bodies: dict[Kind, Callable[[str, Present], Body | None]] = {
            ServiceMeshPeer: self._peer,
            FollowedExports: self._exported,
            FollowedImports: self._imported,
        }
        self._stores: dict[Kind, Store[Any]] = {
            ServiceMeshPeer: facts.peers,
            FollowedExports: facts.exports,
            FollowedImports: facts.imports,
        }
        sources.leadership.subscribe(self._lead_changed)

    @property
    def queue(self) -> WorkQueue[Key]:
        """What waits to be looked at."""
        return self._queue

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        for kind, store in self._stores.items():
            self._standing.follow(kind, store, self._resource_changed)
        await self._queue.run(self._write, workers=4)

    def peer_changed(self, peer: str) -> None:
        """The link to this peer fares differently."""
        self._queue.add((ServiceMeshPeer, peer))

    def sets_changed(self, peer: str) -> None:
        """Other services are exported to this peer, imported from it, or on offer."""
        self._queue.add((ServiceMeshPeer, peer))
        self._queue.add((FollowedExports, peer))
        self._queue.add((FollowedImports, peer))

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

    def _resource_changed(self, key: Key) -> None:
        """Someone else has written the resource, maybe its status; what was never looked at has none of ours."""
        if key in self._generations or (key[0] is ServiceMeshPeer and key[1] in self._links):
            self._queue.add(key)

    def _lead_changed(self) -> None:
        if self._leadership.is_leading:
            peers: set[Key] = {(ServiceMeshPeer, name) for name in self._links}
            for key in peers | self._generations.keys():
                self._queue.add(key)

    async def _write(self, key: Key) -> timedelta | None:
        present = self._standing.of(key)
        if present is None:
            self._forget(key)
            return None
        pace = self._pace.setdefault(key, Pace())
        wait_s = pace.wait_s(asyncio.get_running_loop().time())
        if wait_s > 0:
            return timedelta(seconds=wait_s)
        try:
            services = await self._bring(key, present, pace)
        except NotFound:
            self._queue.add(key)  # it is gone, or another one of its name
        else:
            pace.looked(asyncio.get_running_loop().time(), services=services)
        return None

    def _forget(self, key: Key) -> None:
        """There is no such resource any more."""
        self._pace.pop(key, None)
        self._generations.pop(key, None)

    async def _bring(self, key: Key, present: Present, pace: Pace) -> int:
        """Bring a status up to what it should be; return how many services it lists.

        A write of someone else in between makes the API server refuse ours, and the queue tries again.
        """
        kind, name = key
        body = self._bodies[kind](name, present)
        if body is None:
            return 0
        if not self._standing.is_so(key, present, body):
            await self._standing.write(key, body)
            pace.written()  # a write that fails is for the queue to put off
            self.writes[called(kind)] += 1
            await self._tell(key, present, body)
        return sum(value.listed for value in body.values() if isinstance(value, Listing))

    async def _tell(self, key: Key, present: Present, body: Body) -> None:
        """Tell what became of the resource, if that is news."""
        kind, name = key
        after = condition(msgspec.convert(body.get("conditions", []), list[Condition]), _SUMMARY[kind])
        resource = self._stores[kind].get(ObjectKey(self._namespace, name))
        if after is not None and resource is not None:
            await self._events.transition(resource, condition(present.conditions, _SUMMARY[kind]), after)

    def _peer(self, name: str, present: Present) -> Body | None:
        link = self._links.get(name)
        if link is None:
            return None
        discovery = from_json(present.stored.get("discoveryStatus")).merged(link.pruned_entry())
        if not self._leadership.is_leading:
            return {"discoveryStatus": to_json(discovery)}
        alive = self._facts.own_pods()
        if link.entry.pod in alive:  # else what we see of the pods is not all of them
            discovery = discovery.without_pods_but(alive)
        table = self._exports.get(name)
        found = peer_conditions(self._peer_facts(link, discovery), now=datetime.now(UTC))
        return {
            "discoveryStatus": to_json(discovery),
            "exports": len(table.listing) if table is not None else 0,
            "imports": len(link.imports.imports),
            **self._conditions((ServiceMeshPeer, name), present, found),
        }

    def _exported(self, name: str, present: Present) -> Body | None:
        if not self._leadership.is_leading:
            return None
        table = self._exports.get(name)
        listing = table.listing if table is not None else Listing()
        problems = [*self._peer_problems("ExportedServiceSet", name), *(export_problems(table) if table else ())]
        conditions = [accepted(problems), *fully_listed(listing, elsewhere=_ALL_EXPORTS)]
        return {
            "exportedServices": listing,
            "exported": len(listing),
            **self._conditions((FollowedExports, name), present, conditions),
        }

    def _imported(self, name: str, present: Present) -> Body | None:
        if not self._leadership.is_leading:
            return None
        link = self._links.get(name)
        listing = link.imports.listing if link is not None else Listing()
        others = [self._links[other].imports for other in sorted(self._links) if other != name]
        found = import_problems(link.imports, others) if link is not None else ()
        chosen = link.policy.problems if link is not None else ()
        conditions = [
            accepted([*self._peer_problems("ImportedServiceSet", name), *found, *chosen]),
            *fully_listed(listing, elsewhere=_ALL_IMPORTS.format(peer=name)),
        ]
        if link is not None and (link.absence.since is not None or link.entry.watch.connected):
            conditions.append(up_to_date(link.absence.since, link.availability))
        if link is None:  # there is no peer of which anything could be old
            present = present.without(UP_TO_DATE)
        return {
            "importedServices": listing,
            "imported": len(link.imports.imports) if link is not None else 0,
            "offered": len(listing),
            **self._conditions((FollowedImports, name), present, conditions),
        }

    def _peer_problems(self, kind: str, name: str) -> list[Problem]:
        link = self._links.get(name)
        if link is None:
            return [without_peer(kind, name)]
        return [refused_peer(kind, name)] if link.refusal is not None else []

    def _conditions(self, key: Key, present: Present, found: Sequence[Condition]) -> dict[str, Any]:
        generation = self._generations.get(key)
        if all(each.type != FULLY_LISTED for each in found):  # it is there only while it is not so
            present = present.without(FULLY_LISTED)
        conditions = settled(present.conditions, found, generation=generation, now=datetime.now(UTC))
        return {"conditions": jsonable(conditions), "observedGeneration": generation}
