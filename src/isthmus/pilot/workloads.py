"""Serve: imports as plain Kubernetes, and as listeners of the egress gateways.

One work queue, keyed by import: a change of one import costs its own objects. What is found in the cluster after a
restart is known again at once, so that a peer that is down meanwhile takes nothing away.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.messages import ServiceMessage
from isthmus.federation.plan import ImportedPort
from isthmus.federation.ports import ImportKey, PortBook, PortsExhaustedError
from isthmus.federation.workload import Workload, workload
from isthmus.kube import Change, Client, Delete, Index, ObjectKey, WorkQueue, carry_out, plan
from isthmus.pilot.cluster import SERVICE_NAME, Cluster
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.link import Link
from isthmus.pilot.objects import (
    ImportName,
    import_names,
    import_service,
    import_slice,
    remembered,
    remembered_ports,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    """One import as it is carried out: its objects, and the ports of the egress gateway that stand for it."""

    workload: Workload
    egress: str
    ports: tuple[ImportedPort, ...]


class Workloads:
    """All imports of all peers, as objects."""

    def __init__(self, client: Client, cluster: Cluster, gateways: Gateways, links: Mapping[str, Link]) -> None:
        """``links`` are the peers' links by name, live."""
        self._client = client
        self._cluster = cluster
        self._gateways = gateways
        self._links = links
        self._book = PortBook()
        self._made: dict[ImportName, _Made] = {}
        self._services: Index[ImportName, Service] = Index(cluster.services, import_names)
        self._slices: Index[ImportName, EndpointSlice] = Index(cluster.slices, import_names)
        self._queue: WorkQueue[ImportName] = WorkQueue("imports")

    def restore(self) -> dict[str, list[ServiceMessage]]:
        """Read back by peer what is stored in the cluster; call it once, when the stores are synced."""
        services: dict[str, list[ServiceMessage]] = {}
        kept: dict[ImportKey, int] = {}
        for service in self._cluster.services.values():
            for peer, _ in import_names(service):
                message = remembered(service)
                services.setdefault(peer, []).extend([message] if message is not None else [])
                kept.update(remembered_ports(service))
        self._book = PortBook(kept)
        return services

    def follow(self) -> None:
        """Keep the objects as they should be, whoever changes them; call it after :meth:`restore`."""
        self._cluster.services.subscribe(self._service_changed)
        self._cluster.slices.subscribe(self._slice_changed)

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        await self._queue.run(self._reconcile, workers=8)

    def changed(self, peer: str, hostnames: Iterable[str]) -> None:
        """These imports of a peer are others now, new or gone: the gateways know at once, the objects follow."""
        for hostname in hostnames:
            name = (peer, hostname)
            before, after = self._made.pop(name, None), self._make(name)
            if after is not None:
                self._made[name] = after
            self._move_ports(before, after)
            self._queue.add(name)

    def recheck(self, peer: str) -> None:
        """What carries the imports of a peer, or whether they are wanted at all, may have another answer now."""
        stored = [name for each in self._cluster.services.values() for name in import_names(each)]
        self.changed(peer, sorted({hostname for owner, hostname in (*self._made, *stored) if owner == peer}))

    def _make(self, name: ImportName) -> _Made | None:
        link = self._links.get(name[0])
        imported = link.imports.imports.get(name[1]) if link is not None else None
        if link is None or imported is None:
            return None
        try:
            made = workload(imported, namespace=self._cluster.namespace, book=self._book)
        except PortsExhaustedError as error:
            log.error("import cannot be carried out", peer=name[0], hostname=name[1], reason=str(error))
            return None
        if link.config is None:
            return _Made(made, "", ())
        return _Made(made, link.config.egress, made.gateway_ports(link.config.remote.bundle.trust_domain))

    def _move_ports(self, before: _Made | None, after: _Made | None) -> None:
        """Let the egress gateways do what the new state says and nothing else; what stays is not touched."""
        kept = {(after.egress, port.gateway_port) for port in after.ports} if after is not None else set()
        for port in before.ports if before is not None else ():
            if before is not None and (before.egress, port.gateway_port) not in kept:
                self._gateways.egress(before.egress).remove_import(port.gateway_port)
        for port in after.ports if after is not None else ():
            if after is not None:
                self._gateways.egress(after.egress).put_import(port)

    async def _reconcile(self, name: ImportName) -> None:
        made = self._made.get(name)
        observed: list[Service | EndpointSlice] = [*self._services.get(name), *self._slices.get(name)]
        if made is not None and made.egress:
            await carry_out(self._client, plan(observed, self._desired(made)))
        elif made is None and observed and self._is_unwanted(name):
            await carry_out(self._client, [Delete(each) for each in observed])
            self._release(name, observed)

    def _desired(self, made: _Made) -> list[Any]:
        addresses = self._cluster.pod_addresses(made.egress)
        key = made.workload.service
        service = self._cluster.services.get(ObjectKey(key.namespace, key.name))
        if service is not None and not import_names(service):
            # importAsLocal: the Service is someone else's, and so are the names of its ports.
            names = {port.port: port.name or "" for port in (service.spec.ports if service.spec else None) or ()}
            return [import_slice(made.workload, addresses, names)]
        return [import_service(made.workload), import_slice(made.workload, addresses, {})]

    def _is_unwanted(self, name: ImportName) -> bool:
        """Whether it is certain that nothing imports it: its peer is gone, or has told what it exports.

        A peer without link is not gone: after a restart it may not have been looked at yet.
        """
        link = self._links.get(name[0])
        if link is None:
            return self._cluster.peers.get(ObjectKey(self._cluster.namespace, name[0])) is None
        return link.is_synced

    def _release(self, name: ImportName, observed: Iterable[Service | EndpointSlice]) -> None:
        if name in self._made:
            return
        for each in observed:
            for key in remembered_ports(each) if isinstance(each, Service) else ():
                self._book.give_back(key)
        log.info("import removed", peer=name[0], hostname=name[1])

    def _service_changed(self, change: Change[Service]) -> None:
        for each in (change.old, change.new):
            for name in import_names(each) if each is not None else ():
                self._queue.add(name)

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        """An import's slice is another, or an egress gateway's pods are: all imports that lead there follow."""
        for each in (change.old, change.new):
            for name in import_names(each) if each is not None else ():
                self._queue.add(name)
        either = change.new or change.old
        labels = (either.metadata.labels if either is not None and either.metadata else None) or {}
        if change.key.namespace == self._cluster.namespace:
            self._egress_changed(labels.get(SERVICE_NAME, ""))

    def _egress_changed(self, service: str) -> None:
        for name, made in self._made.items():
            if made.egress == service:
                self._queue.add(name)
