"""Serve: what each peer is told of our services, kept up to date with the cluster.

One table and one feed a peer. A change of a Service is looked at once for each peer, and costs what it changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lightkube.resources.core_v1 import Namespace, Service

from isthmus.api import ServiceMeshMemberRoll
from isthmus.api.members import NAME as MEMBER_ROLL
from isthmus.discovery import ExportFeed
from isthmus.federation.export_table import ExportChange, ExportTable
from isthmus.federation.exports import ExportRules, LocalService
from isthmus.federation.members import Members
from isthmus.federation.messages import Health, Locality
from isthmus.federation.selection import QualifiedName
from isthmus.identity import SpiffeId
from isthmus.kube import Change
from isthmus.pilot.services import local_service

HealthOf = Callable[[QualifiedName], Health | None]
"""Knows the pods behind a Service."""
LocalityOf = Callable[[QualifiedName], Locality | None]
"""Knows where they are."""
ExportsChanged = Callable[[str, Sequence[ExportChange]], None]
"""Is told the peer and what became of the exports to it."""


class Exporting:
    """The exports to all peers."""

    def __init__(
        self,
        *,
        namespace: str,
        cluster_domain: str,
        changed: ExportsChanged,
        health: HealthOf = lambda _: None,
        locality: LocalityOf = lambda _: None,
    ) -> None:
        """``namespace`` is the control plane's; ``changed`` hears of every change after the peer was told."""
        self._health = health
        self._locality = locality
        self.tables: dict[str, ExportTable] = {}
        self.feeds: dict[str, ExportFeed] = {}
        self._namespace = namespace
        self._cluster_domain = cluster_domain
        self._changed = changed
        self._services: dict[QualifiedName, LocalService] = {}
        self._members = Members()
        self._labels: dict[str, Mapping[str, str]] = {}
        """Of namespaces."""

    def configure(self, peer: str, rules: ExportRules, ingress: SpiffeId) -> None:
        """Export to ``peer`` by these rules, in the name of its ingress gateway."""
        if peer not in self.tables:
            self.tables[peer] = ExportTable(peer, system_namespace=self._namespace, cluster_domain=self._cluster_domain)
            self.feeds[peer] = ExportFeed()
        ours = [each for name, each in self._services.items() if self._is_of_mesh(name)]
        self._publish(peer, self.tables[peer].configure(rules, [ingress], ours))

    def end_watches(self, peer: str) -> None:
        """End all watches of ``peer``: whoever watched may have the right no longer, and comes back if it has."""
        feed = self.feeds.get(peer)
        if feed is not None:
            feed.end_watches()

    def remove(self, peer: str) -> None:
        """Export nothing to ``peer`` any more, and end its watches."""
        table, feed = self.tables.get(peer), self.feeds.get(peer)
        if table is None or feed is None:
            return
        self._publish(peer, table.configure(ExportRules(), [], ()))
        feed.close()
        del self.tables[peer], self.feeds[peer]

    def service_changed(self, change: Change[Service]) -> None:
        """Subscriber of the store of Services."""
        name = QualifiedName(change.key.namespace, change.key.name)
        service = local_service(change.new) if change.new is not None else None
        # What carries federation is never exported: as many Services as there are imports.
        after = self._with_pods(service) if service is not None and not service.is_federation else None
        if after == self._services.get(name):
            return
        if after is None:
            del self._services[name]
        else:
            self._services[name] = after
        self._look_at(name)

    def endpoints_changed(self, name: QualifiedName) -> None:
        """The pods behind a Service are others: peers are told when the first is ready, when none is, and when they are
        in another place."""
        service = self._services.get(name)
        if service is not None and (after := self._with_pods(service)) != service:
            self._services[name] = after
            self._look_at(name)

    def places_changed(self) -> None:
        """The regions of zones are others."""
        for name in list(self._services):
            self.endpoints_changed(name)

    def _with_pods(self, service: LocalService) -> LocalService:
        told = known.health if (known := self._services.get(service.name)) is not None else None
        now = self._health(service.name)
        health = now if now is not None and now.tells_more_than(told) else told
        return replace(service, health=health, locality=self._locality(service.name))

    def member_roll_changed(self, change: Change[ServiceMeshMemberRoll]) -> None:
        """Subscriber of the store of ServiceMeshMemberRolls."""
        if change.key.name != MEMBER_ROLL:
            return
        with self._looking_again(list(self._services)):
            self._members = Members.of(change.new, system_namespace=self._namespace)

    def namespace_changed(self, change: Change[Namespace]) -> None:
        """Subscriber of the store of Namespaces: their labels may make them members."""
        labels = (change.new.metadata.labels if change.new is not None and change.new.metadata else None) or {}
        namespace = change.key.name
        if labels == self._labels.get(namespace, {}):
            return
        with self._looking_again([name for name in self._services if name.namespace == namespace]):
            if labels:
                self._labels[namespace] = labels
            else:
                del self._labels[namespace]

    @contextmanager
    def _looking_again(self, names: Sequence[QualifiedName]) -> Iterator[None]:
        """Look at those of these Services that the block makes part of the mesh, or no longer."""
        before = {name for name in names if self._is_of_mesh(name)}
        yield
        for name in names:
            if (name in before) != self._is_of_mesh(name):
                self._look_at(name)

    def _is_of_mesh(self, name: QualifiedName) -> bool:
        return self._members.include(name.namespace, self._labels.get(name.namespace, {}))

    def _look_at(self, name: QualifiedName) -> None:
        """A Service is another, or is of the mesh now, or no longer: what do the peers see of it?"""
        service = self._services.get(name) if self._is_of_mesh(name) else None
        for peer, table in self.tables.items():
            self._publish(peer, table.service_changed(service) if service is not None else table.service_gone(name))

    def _publish(self, peer: str, changes: Sequence[ExportChange]) -> None:
        feed = self.feeds[peer]
        for change in changes:
            if change.after is not None:
                feed.put(change.after)
            else:
                feed.remove(change.hostname)
        if changes:
            self._changed(peer, changes)
