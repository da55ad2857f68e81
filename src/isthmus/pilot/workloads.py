"""Serve: imports as plain Kubernetes, and as listeners of the egress gateways.

One work queue, keyed by import: a change of one import costs its own objects. What is found in the cluster after a
restart is known again at once, so that a peer that is down meanwhile takes nothing away.

The leader writes and gives out gateway ports. Every other replica takes the ports from what is written, so that the
gateways that it serves listen where the objects lead; an import without object it knows, but does not serve yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.federation.availability import is_ready
from isthmus.federation.hindrances import Hindrance, not_written, service_hindrance, unlike_service
from isthmus.federation.import_table import Import
from isthmus.federation.locality import Place, place
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.plan import ImportedPort
from isthmus.federation.ports import ImportKey, PortsExhaustedError
from isthmus.federation.workload import Workload
from isthmus.kube import Change, Client, Delete, Index, ObjectKey, WorkQueue, carry_out, metadata_of, plan
from isthmus.kube.errors import Denied, NotFound, Refused, translated
from isthmus.pilot.cluster import SERVICE_NAME, Cluster
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.held_ports import HeldPorts
from isthmus.pilot.hindered import Hindered
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.objects import (
    ImportName,
    import_names,
    import_service,
    import_slice,
    is_joined_by,
    is_made_by,
    made_by,
    names_of_ports,
    port_names,
    remembered,
    remembered_ports,
)
from isthmus.pilot.own_writes import OwnWrites

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    """One import as it is carried out: its objects, and the ports of the egress gateway that stand for it."""

    workload: Workload
    egress: str
    ports: tuple[ImportedPort, ...]

    @property
    def service(self) -> ObjectKey:
        """The Service by which it is called, whoever made it."""
        return ObjectKey(self.workload.service.namespace, self.workload.service.name)


class Workloads:
    """All imports of all peers, as objects."""

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        gateways: Gateways,
        links: Mapping[str, Link],
        leadership: Leadership,
        hindered: Hindered,
    ) -> None:
        """``links`` are the peers' links by name, live."""
        self._client = client
        self._leadership = leadership
        self._cluster = cluster
        self._gateways = gateways
        self._links = links
        self._hindered = hindered
        self._ports = HeldPorts(cluster.namespace)
        self._own_writes: OwnWrites[ImportName] = OwnWrites()
        self._made: dict[ImportName, _Made] = {}
        self._pods: dict[str, tuple[list[str], list[str]]] = {}
        """Where the pods of each Service in the control plane's namespace were last seen."""
        self._by_service: dict[ObjectKey, tuple[ImportName, ...]] = {}
        self._services: Index[ImportName, Service] = Index(cluster.services, self._names)
        self._slices: Index[ImportName, EndpointSlice] = Index(cluster.slices, self._names)
        self._queue: WorkQueue[ImportName] = WorkQueue(
            "imports", facts=lambda name: {"peer": name[0], "hostname": name[1]}
        )

    def restore(self) -> dict[str, list[ServiceMessage]]:
        """Read back by peer what is stored in the cluster; call it once, when the stores are synced."""
        services: dict[str, list[ServiceMessage]] = {}
        kept: dict[ImportKey, int] = {}
        # The Service of an import that has joined one is not ours: then its slice knows.
        for made in self._stored():
            for peer, _ in import_names(made):
                message = remembered(made)
                services.setdefault(peer, []).extend([message] if message is not None else [])
                kept.update(remembered_ports(made))
        self._ports.restore(kept)
        return services

    def follow(self) -> None:
        """Keep the objects as they should be, whoever changes them; call it after :meth:`restore`."""
        self._cluster.services.subscribe(self._service_changed)
        self._cluster.slices.subscribe(self._slice_changed)
        self._leadership.subscribe(self._lead_changed)

    @property
    def queue(self) -> WorkQueue[ImportName]:
        """What waits to be looked at."""
        return self._queue

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        await self._queue.run(self._reconcile, workers=8)

    def changed(self, peer: str, hostnames: Iterable[str]) -> None:
        """These imports of a peer are others now, new or gone: the gateways know at once, the objects follow.

        In the order of their names, so that replicas that learn of the same imports give them the same gateway ports.
        """
        for hostname in sorted(hostnames):
            name = (peer, hostname)
            before = self._made.pop(name, None)
            after = self._make(name, before)
            if before is not None:
                self._forget_service(name, before)
            if after is not None:
                self._made[name] = after
                self._by_service[after.service] = (*self._by_service.get(after.service, ()), name)
            self._move_ports(before, after)
            self._queue.add(name)

    def recheck(self, peer: str) -> None:
        """What carries the imports of a peer, or whether they are wanted at all, may have another answer now."""
        names = (*self._made, *self._stored_names())
        self.changed(peer, {hostname for owner, hostname in names if owner == peer})

    def readiness_changed(self, peer: str) -> None:
        """Whether the imports of a peer may be called, or where they are, may have another answer now."""
        for name in self._made:
            if name[0] == peer:
                self._queue.add(name)

    def callable(self, peer: str) -> Iterator[Workload]:
        """The imports of a peer that a call can go to: carried by its egress gateway, and ready at the peer."""
        for (owner, _), made in self._made.items():
            if owner == peer and made.ports and self._is_ready(made, joins=False):
                yield made.workload

    def _lead_changed(self) -> None:
        """This replica may write now, or may no longer: then what is written counts, not what it meant to write."""
        if not self._leadership.is_leading:
            for each in self._stored():
                self._adopt_ports(each)
        known = {(peer, hostname) for peer, link in self._links.items() for hostname in link.imports.imports}
        for name in sorted({*known, *self._made, *self._stored_names()}):
            self.changed(*_singly(name))

    def _stored_names(self) -> list[ImportName]:
        return [name for each in self._stored() for name in import_names(each)]

    def _stored(self) -> list[Service | EndpointSlice]:
        there: list[Service | EndpointSlice] = [*self._cluster.slices.values(), *self._cluster.services.values()]
        return [each for each in there if is_made_by(self._cluster.namespace, each)]

    def _names(self, made: Service | EndpointSlice) -> list[ImportName]:
        return import_names(made) if is_made_by(self._cluster.namespace, made) else []

    def _make(self, name: ImportName, before: _Made | None) -> _Made | None:
        link = self._links.get(name[0])
        imported = link.imports.imports.get(name[1]) if link is not None else None
        if imported is None or service_hindrance(imported.service, imported.called) is not None:
            self._hindered.forget(name)
            return None
        if not (self._leadership.is_leading or self._ports.are_held_by(imported)):
            self._hindered.forget(name)
            return before if before is not None and self._ports.are_held_by(before.workload.imported) else None
        try:
            made = self._ports.workload(name, imported)
        except PortsExhaustedError:
            self._hindered.waits_for_port(name)
            return before
        self._hindered.has_ports(name)
        if link is None or link.config is None:
            return _Made(made, "", ())
        trust_domain, trusted_as = link.config.remote.bundle.trust_domain, link.config.trusted_as
        return _Made(made, link.config.egress, made.gateway_ports(trust_domain, trusted_as=trusted_as))

    def _adopt_ports(self, made: Service | EndpointSlice) -> None:
        """Take over the gateway ports that the leader has given out, and the listeners with them."""
        for name in self._ports.adopt(remembered_ports(made)):
            self.changed(*_singly(name))

    def _forget_service(self, name: ImportName, made: _Made) -> None:
        others = tuple(each for each in self._by_service.pop(made.service) if each != name)
        if others:
            self._by_service[made.service] = others

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
        if not self._leadership.is_leading:
            if made is None and not observed:
                self._release(name, None)
        elif made is not None and made.egress:
            await self._write(name, made, observed)
        elif made is None and self._is_unwanted(name):
            await self._remove(name, observed)

    async def _write(self, name: ImportName, made: _Made, observed: list[Service | EndpointSlice]) -> None:
        try:
            if not await self._is_settled(made):
                return
            writes = plan(observed, self._desired(name, made))
            is_another = await self._own_writes.carry_out(self._client, name, writes)
        except (Denied, NotFound, Refused) as error:
            self._tried(name, made, not_written(str(error)))
            raise
        self._tried(name, made, self._unlike(name, made))
        if is_another:
            self._queue.add(name)
        self._release(name, made)

    def _tried(self, name: ImportName, made: _Made, found: Hindrance | None) -> None:
        if self._made.get(name) is made:  # else it is another again: its turn comes
            self._hindered.tried(name, found)

    async def _remove(self, name: ImportName, observed: list[Service | EndpointSlice]) -> None:
        if not observed and name in self._own_writes:
            return  # what was written a moment ago has yet to be seen; then it will be deleted
        await carry_out(self._client, [Delete(each) for each in observed])
        self._own_writes.forget(name)
        self._release(name, None)
        if observed:
            log.info("import removed", peer=name[0], hostname=name[1])

    async def _is_settled(self, made: _Made) -> bool:
        """Whether we know who the Service belongs to.

        One that someone has made a moment ago must not be taken for missing, and overwritten: its event is on its way.
        """
        key = made.service
        if not made.workload.imported.called.is_local or self._cluster.services.get(key) is not None:
            return True
        try:
            with translated(f"read Service {key}"):
                await self._client.api.get(Service, key.name, namespace=key.namespace)
        except NotFound:
            return True
        return False

    def _desired(self, name: ImportName, made: _Made) -> list[Any]:
        at = self._place(made.workload.imported)
        service = self._joined(name, made)
        if service is not None:
            is_ready = self._is_ready(made, joins=True)
            addresses = self._cluster.pod_addresses(made.egress)  # beside others, who do answer
            behind = import_slice(made.workload, addresses, names_of_ports(service), is_ready=is_ready, at=at)
            return [made_by(self._cluster.namespace, behind)]
        names, is_ready = port_names(made.workload), self._is_ready(made, joins=False)
        addresses = self._cluster.gateway_addresses(made.egress)
        objects = (
            import_service(made.workload),
            import_slice(made.workload, addresses, names, is_ready=is_ready, at=at),
        )
        return [made_by(self._cluster.namespace, each) for each in objects]

    def _joined(self, name: ImportName, made: _Made) -> Service | None:
        """The Service that the import joins and that is not its own, if there is one."""
        service = self._cluster.services.get(made.service) if made.workload.imported.called.is_local else None
        return service if service is not None and is_joined_by(service, name) else None

    def _unlike(self, name: ImportName, made: _Made) -> Hindrance | None:
        joined, imported = self._joined(name, made), made.workload.imported
        return unlike_service(imported.service, imported.called, names_of_ports(joined)) if joined is not None else None

    def _place(self, imported: Import) -> Place:
        link = self._links.get(imported.peer)
        return place(link.imports.rules.locality if link is not None else None, imported.service.locality)

    def _is_ready(self, made: _Made, *, joins: bool) -> bool:
        """Whether the import may be called; ``joins``: beside pods that a Service has here."""
        imported = made.workload.imported
        link = self._links.get(imported.peer)
        local = [self._cluster.endpoints(made.workload.service, port) for port in imported.ports] if joins else []
        return link is not None and is_ready(
            health=imported.service.health,
            state=link.availability,
            policy=link.policy,
            is_local_ready=any(local),
        )

    def _is_unwanted(self, name: ImportName) -> bool:
        """Whether it is certain that nothing imports it.

        Its peer is gone, or has told what it exports, or is known to export it and our rules do not import it. A peer
        without link is not gone: after a restart it may not have been looked at yet, or cannot be understood.
        """
        link = self._links.get(name[0])
        if link is None:
            key = ObjectKey(self._cluster.namespace, name[0])
            return self._cluster.peers.get(key) is None and key not in self._cluster.peers.rejected
        return link.is_synced or (link.config is not None and name[1] in link.known)

    def _release(self, name: ImportName, made: _Made | None) -> None:
        """Give back the gateway ports that it had before it was ``made``, now that no object leads there."""
        if self._made.get(name) is not made:
            return  # it is another again: its turn comes
        for _ in self._ports.release(name, made.workload if made is not None else None):
            if (waiting := self._hindered.first_waiting) is not None:
                self.changed(*_singly(waiting))

    def _service_changed(self, change: Change[Service]) -> None:
        self._object_changed(change, also=self._by_service.get(change.key, ()))

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        """An import's slice is another, or an egress gateway's pods are: all imports that lead there follow."""
        self._object_changed(change)
        either = change.new or change.old
        if either is None or import_names(either):
            return
        labels = (either.metadata.labels if either.metadata else None) or {}
        for name in self._by_service.get(ObjectKey(change.key.namespace, labels.get(SERVICE_NAME, "")), ()):
            self._queue.add(name)  # it stands beside these pods
        if change.key.namespace == self._cluster.namespace:
            self._egress_changed(labels.get(SERVICE_NAME, ""))

    def _object_changed(
        self, change: Change[Service] | Change[EndpointSlice], *, also: Iterable[ImportName] = ()
    ) -> None:
        """Let the imports that an object was made for, and ``also`` these, be compared with what they should be.

        But for what we wrote ourselves, of which each import is told once.
        """
        if change.new is not None and self._names(change.new) and not self._leadership.is_leading:
            self._adopt_ports(change.new)
        made = [name for each in (change.old, change.new) if each is not None for name in self._names(each)]
        version = metadata_of(change.new).resourceVersion if change.new is not None else None
        for name in dict.fromkeys((*made, *also)):
            if not self._own_writes.is_echo(name, version) or name not in self._made:
                self._queue.add(name)
        if change.new is None:
            for name in made:
                self._own_writes.forget(name)

    def _egress_changed(self, service: str) -> None:
        pods = (self._cluster.pod_addresses(service), self._cluster.gateway_addresses(service))
        if self._pods.get(service) == pods:
            return
        self._pods[service] = pods
        for name, made in self._made.items():
            if made.egress == service:
                self._queue.add(name)


def _singly(name: ImportName) -> tuple[str, list[str]]:
    return name[0], [name[1]]
