"""Plan: what each ServiceMeshPeer, with its root, its export and its import rules, means for everything else.

One reconciliation a peer, level-triggered: it reads the stores, makes the peer's configuration, and brings gateways,
discovery, exports and imports in line with it. A peer that cannot be used is not served at all (fail closed); what was
imported from it stays as it was last known.
"""

import asyncio
import contextvars
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from lightkube.resources.core_v1 import ConfigMap

from isthmus.api import ServiceMeshPeer
from isthmus.api.meta import condition
from isthmus.discovery import Caller, ForbiddenError, PeerClient, Route, UnknownPeerError
from isthmus.federation.availability import import_policy
from isthmus.federation.conditions import UP_TO_DATE
from isthmus.federation.exports import ExportRules
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.peer import Mesh, PeerConfig, PeerConfigError
from isthmus.federation.plan import DISCOVERY_PORT, Endpoint
from isthmus.federation.selection import Problem
from isthmus.kube import Change, ObjectKey, WorkQueue
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.configs import PeerConfigs
from isthmus.pilot.exporting import Exporting
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.inquiry import Inquiry
from isthmus.pilot.link import Link
from isthmus.pilot.staleness import Staleness
from isthmus.pilot.status import StatusWriter
from isthmus.pilot.tls import OwnTls
from isthmus.pilot.workloads import Workloads

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the peers are served with."""

    cluster: Cluster
    tls: OwnTls
    links: dict[str, Link]
    """By peer; filled here, read by the other parts."""
    exporting: Exporting
    gateways: Gateways
    staleness: Staleness
    status: StatusWriter
    inquiry: Inquiry
    workloads: Workloads


class Peers:
    """All peers; also what the discovery server asks of them (``Exporter``)."""

    def __init__(self, mesh: Mesh, parts: Parts, *, pod: str, pod_ip: str) -> None:
        """Prepare; nothing happens before :meth:`run`."""
        self._mesh = mesh
        self._parts = parts
        self._configs = PeerConfigs(mesh, parts.cluster)
        self._pod = pod
        self._pod_ip = pod_ip
        self._queue: WorkQueue[str] = WorkQueue("peers", facts=lambda peer: {"peer": peer})
        self._seeds: dict[str, list[ServiceMessage]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._namesakes: dict[str, frozenset[str]] = {}
        """By peer, others whose imports have a name in common with its own."""
        self._renames: dict[str, int] = {}
        """By peer, how often names had changed when that was looked at."""
        self._tasks = asyncio.TaskGroup()
        self._unplanned: set[str] = set()
        self.planned = asyncio.Event()
        """Every peer that was there when :meth:`run` began has been looked at: the gateways' plan is whole."""

    @property
    def queue(self) -> WorkQueue[str]:
        """What waits to be looked at."""
        return self._queue

    async def run(self) -> None:
        """Serve all peers until cancelled; the stores must be synced."""
        workloads, cluster = self._parts.workloads, self._parts.cluster
        self._seeds = workloads.restore()
        async with self._tasks as tasks:
            cluster.peers.subscribe(self._named)
            cluster.exports.subscribe(self._named)
            cluster.imports.subscribe(self._named)
            cluster.config_maps.subscribe(self._config_map_changed)
            workloads.follow()
            self._unplanned = {key.name for key in cluster.peers.keys()}  # noqa: SIM118  (a view)
            if not self._unplanned:
                self.planned.set()
            for orphaned in self._seeds.keys() - self._unplanned:
                self._queue.add(orphaned)
            tasks.create_task(self._queue.run(self._reconcile), name="peers")

    def link(self, peer: str, caller: Caller) -> Link:
        """The link to ``peer``, if ``caller`` is the ingress gateway that serves it, on behalf of its ``clientID``.

        The gateway lets in nobody else; but for the moment until it has heard of another ``clientID``, it would let in
        the former one, whose watch could then stay.

        Raises:
            UnknownPeerError: no ServiceMeshPeer of that name can be used.
            ForbiddenError: it is not this gateway that serves the peer, or not the peer whom it speaks for.
        """
        link = self._parts.links.get(peer)
        if link is None or link.config is None:
            raise UnknownPeerError(f"no ServiceMeshPeer {peer} is served by {self._mesh.name}")
        expected = self._mesh.gateway_accounts(link.config.ingress)
        if caller.gateway not in expected:
            names = " or ".join(map(str, expected))
            raise ForbiddenError(f"{caller.gateway} may not speak for peer {peer}: expected {names}")
        if caller.client != link.config.client:
            raise ForbiddenError(f"{caller.client or 'nobody'} is not peer {peer}: expected {link.config.client}")
        return link

    def _named(self, change: Change[Any]) -> None:
        """A peer or one of its sets has changed: all three bear the peer's name."""
        if not _is_status_only(change):
            self._queue.add(change.key.name)

    def _config_map_changed(self, change: Change[ConfigMap]) -> None:
        for peer in self._parts.cluster.peers.values():
            if peer.root_config_map == change.key.name:
                self._queue.add(peer.metadata.name or "")

    async def _reconcile(self, name: str) -> None:
        try:
            self._look_at(name)
        finally:
            self._planned_one(name)

    def _planned_one(self, name: str) -> None:
        self._unplanned.discard(name)
        if not self._unplanned:
            self.planned.set()

    def _look_at(self, name: str) -> None:
        if self._key(name) in self._parts.cluster.peers.rejected:
            return  # it is there, but cannot be understood: all stays as it was
        cluster, key = self._parts.cluster, self._key(name)
        peer = cluster.peers.get(key)
        self._parts.status.looked_at(name, peer, cluster.exports.get(key), cluster.imports.get(key))
        known = self._parts.links.get(name)
        before = known.config if known is not None else None
        if peer is None:
            self._remove(name)
        else:
            self._update(name, peer)
        self._others_changed(name, before)
        self._parts.status.peer_changed(name)
        self._parts.status.sets_changed(name)

    def _update(self, name: str, peer: ServiceMeshPeer) -> None:
        link = self._parts.links.get(name) or self._add(name)
        self._choose(link)
        try:
            config = self._configs.of(peer).following(link.config)
        except PeerConfigError as error:
            self._refuse(link, error)
            return
        exports, imports = self._export_rules(name), self._import_rules(name)
        self._tell_problems(name, (*exports.problems, *imports.problems))
        before, link.config, link.refusal = link.config, config, None
        self._parts.exporting.configure(name, exports, self._mesh.gateway_account(config.ingress))
        if imports.locality != link.imports.rules.locality:
            self._parts.workloads.readiness_changed(name)
        changed = link.imports.configure(imports, trust_domain=config.remote.bundle.trust_domain)
        if config != before:
            self._connect(link, config)
        self._parts.workloads.changed(name, changed)
        self._names_changed(name)

    def _others_changed(self, name: str, before: PeerConfig | None) -> None:
        """A peer is another now, or gone: one that it stood in the way of may be served, or another no longer."""
        link = self._parts.links.get(name)
        if before != (link.config if link is not None else None):
            for other in self._parts.links:
                if other != name:
                    self._queue.add(other)

    def _add(self, name: str) -> Link:
        """A peer is new. What an earlier process imported from it is known from the start."""
        link = Link(
            name,
            pod=self._pod,
            trust_bundle=self._mesh.bundle,
            feed=lambda: self._parts.exporting.feeds[name],
            status_changed=lambda: self._link_changed(name),
            imports_changed=lambda hostnames: self._imports_changed(name, hostnames),
        )
        link.absence.before = self._away_before(name)
        self._parts.links[name] = link
        link.remember(self._seeds.pop(name, ()))
        log.info("peer added", peer=name)
        return link

    def _choose(self, link: Link) -> None:
        """Carry out what the importer has chosen for the time while the peer is away."""
        imports = self._parts.cluster.imports.get(self._key(link.peer))
        policy = import_policy((imports.metadata.annotations or {}) if imports is not None else {})
        if policy != link.policy:
            link.policy = policy
            self._parts.staleness.link_changed(link.peer)

    def _away_before(self, name: str) -> datetime | None:
        """Since when the peer is away, as the last process of this mesh has told; None if it was not."""
        imports = self._parts.cluster.imports.get(self._key(name))
        known = condition(imports.status.conditions if imports and imports.status else (), UP_TO_DATE)
        return known.last_transition_time if known is not None and known.status == "False" else None

    def _link_changed(self, name: str) -> None:
        self._parts.status.peer_changed(name)
        self._parts.staleness.link_changed(name)
        self._parts.inquiry.link_changed(name)

    def _connect(self, link: Link, config: PeerConfig) -> None:
        """The peer's resource is another, and with it who it is or the way to it: everything is made anew."""
        self._parts.exporting.end_watches(link.peer)
        self._replan()
        self._unwatch(link.peer)
        link.evidence.began_anew(time.monotonic())
        self._parts.inquiry.link_changed(link.peer)
        link.client = PeerClient(self._route(config), link, seed=link.known)
        # In a context of its own: what the watch logs is not part of the reconciliation that begins it.
        self._watches[link.peer] = self._tasks.create_task(
            link.client.run(), name=f"watch of {link.peer}", context=contextvars.Context()
        )
        self._parts.workloads.recheck(link.peer)

    def _refuse(self, link: Link, error: PeerConfigError) -> None:
        """The resource cannot be used: nothing is exchanged with the peer until it can. What we know of it stays."""
        link.refusal = Problem(0, error.reason, str(error))
        self._tell_problems(link.peer, (link.refusal,))
        if link.config is not None:
            link.config = None
            self._unwatch(link.peer)
            self._parts.exporting.end_watches(link.peer)
            self._replan()
            self._parts.workloads.recheck(link.peer)
        link.watch_failed(str(error))

    def _remove(self, name: str) -> None:
        """A peer is gone: so is everything that it caused."""
        link = self._parts.links.pop(name, None)
        if link is None:
            if self._seeds.pop(name, None) is not None:  # gone before it was looked at
                self._parts.workloads.recheck(name)
            return
        self._unwatch(name)
        self._parts.exporting.remove(name)
        self._replan()
        self._parts.workloads.changed(name, link.imports.clear())
        self._parts.workloads.recheck(name)
        self._problems.pop(name, None)
        self._names_changed(name)
        log.info("peer removed", peer=name)

    def _replan(self) -> None:
        links = self._parts.links
        self._parts.gateways.plan([config for name in sorted(links) if (config := links[name].config) is not None])

    def _unwatch(self, name: str) -> None:
        task = self._watches.pop(name, None)
        if task is not None:
            task.cancel()

    def _route(self, config: PeerConfig) -> Route:
        egress = config.egress
        return Route(
            peer=config.name,
            authority=f"{egress}.{self._mesh.namespace}.svc.{self._mesh.cluster_domain}:{DISCOVERY_PORT}",
            discovery_name=config.remote.discovery_name,
            remote_checksum=config.remote.remote_checksum,
            version=config.remote.version,
            gateways=self._mesh.gateway_accounts(egress),
            endpoints=lambda: [Endpoint(each, DISCOVERY_PORT) for each in self._parts.cluster.pod_addresses(egress)],
            context=self._parts.tls.client,
            local_address=self._pod_ip,
        )

    def _imports_changed(self, peer: str, hostnames: frozenset[str] | None) -> None:
        """Some imports are others now; or (None) the peer's list is here, which may make stored ones superfluous."""
        if hostnames is None:
            self._parts.workloads.recheck(peer)
        else:
            self._parts.workloads.changed(peer, hostnames)
        self._parts.status.sets_changed(peer)
        self._names_changed(peer)

    def _names_changed(self, peer: str) -> None:
        """Imports may have other names now: peers with which they share one, or did, are told of it."""
        links, link = self._parts.links, self._parts.links.get(peer)
        if link is None:
            self._renames.pop(peer, None)
        elif self._renames.get(peer) == link.imports.renames:
            return
        else:
            self._renames[peer] = link.imports.renames
        before, names = self._namesakes.pop(peer, frozenset()), link.imports.names if link is not None else ()
        now = frozenset(each for each in links if each != peer and not links[each].imports.names.isdisjoint(names))
        if now:
            self._namesakes[peer] = now
        for other in sorted(before | now):
            self._parts.status.sets_changed(other)

    def _export_rules(self, name: str) -> ExportRules:
        exports = self._parts.cluster.exports.get(self._key(name))
        return ExportRules.of((exports.spec.export_rules or ()) if exports is not None else ())

    def _import_rules(self, name: str) -> ImportRules:
        imports = self._parts.cluster.imports.get(self._key(name))
        if imports is None:
            return ImportRules()
        return ImportRules.of(imports, peer=name, cluster_domain=self._mesh.cluster_domain)

    def _tell_problems(self, name: str, problems: Sequence[Problem]) -> None:
        """One line for each problem, once."""
        told = self._problems.get(name, ())
        self._problems[name] = tuple(problem.message for problem in problems)
        for problem in problems:
            if problem.message not in told:
                log.warning("peer misconfigured", peer=name, reason=problem.reason, message=problem.message)

    def _key(self, name: str) -> ObjectKey:
        return ObjectKey(self._mesh.namespace, name)


def _is_status_only(change: Change[Any]) -> bool:
    """Whether nothing is different that an administrator says: most often we have written the status ourselves."""
    if change.old is None or change.new is None:
        return False
    old, new = change.old.metadata, change.new.metadata
    same = old.uid == new.uid and old.generation == new.generation and old.annotations == new.annotations
    return bool(same and change.old.spec == change.new.spec)
