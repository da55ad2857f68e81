"""Serve: the resources of one gateway, for each address that its pods listen on.

A gateway's plan is the same for all its pods; what differs is the address in its listeners. Clusters of exports and
imports are made when an Envoy asks for them, and looked at again only when they change.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from isthmus.envoy import cluster, egress, endpoint, ingress, message, secret, tls
from isthmus.federation.export_table import ExportTable
from isthmus.federation.names import exported_to, outbound_sni, parse_sni
from isthmus.federation.plan import EgressPlan, Endpoint, ImportedPort, IngressPlan
from isthmus.xds import Resource, ResourceTable
from isthmus.xds.table import OnDemand

EndpointsOf = Callable[[str], list[Endpoint]]
"""The ready endpoints of an export target, by its key; ValueError if that is none."""


class Role(Protocol):
    """What a gateway does for federation."""

    def fill(self, table: ResourceTable, bind_address: str) -> None:
        """Put all eager resources into the table of pods that listen on this address."""

    def on_demand(self, type_url: str, name: str) -> Resource | None:
        """Make a resource that a gateway asks for by name."""


class Pods:
    """The tables of one gateway's pods, by the address that each listens on; filled by whatever role it has.

    A gateway may connect before any peer names it: it is then served nothing, until it has a role.
    """

    def __init__(self) -> None:
        self._tables: dict[str, ResourceTable] = {}
        self._role: Role | None = None

    @property
    def role(self) -> Role | None:
        """What the gateway does, None while no peer names it."""
        return self._role

    def table(self, bind_address: str) -> ResourceTable:
        """The resources for pods that listen on this address."""
        table = self._tables.get(bind_address)
        if table is None:
            on_demand = {kind: self._maker(kind) for kind in (message.CLUSTER, message.ENDPOINTS)}
            table = self._tables[bind_address] = ResourceTable(on_demand)
            if self._role is not None:
                self._role.fill(table, bind_address)
        return table

    def forget_unused(self) -> None:
        """Drop the tables of addresses from which nobody is connected; a pod that comes back gets a new one."""
        self._tables = {address: table for address, table in self._tables.items() if table.is_listened_to}

    def items(self) -> Iterable[tuple[str, ResourceTable]]:
        """Addresses and tables."""
        return self._tables.items()

    def tables(self) -> Iterable[ResourceTable]:
        """All tables."""
        return self._tables.values()

    def assume(self, role: Role | None) -> None:
        """Take another role, or none: what belonged to the former one is withdrawn."""
        if role is self._role:
            return
        self._role = role
        for bind_address, table in self._tables.items():
            if role is None:
                for kind in message.ORDER:
                    table.replace(kind, [])
            else:
                role.fill(table, bind_address)
            _refresh(table)

    def refill(self) -> None:
        """The role's plan is another now."""
        if self._role is not None:
            for bind_address, table in self._tables.items():
                self._role.fill(table, bind_address)
                _refresh(table)

    def invalidate(self, type_url: str, names: Iterable[str]) -> None:
        """Resources that are made on demand may be others now."""
        listed = list(names)
        for table in self._tables.values():
            table.invalidate(type_url, listed)

    def _maker(self, type_url: str) -> OnDemand:
        return lambda name: self._role.on_demand(type_url, name) if self._role is not None else None


class Ingress:
    """What peers may call."""

    def __init__(
        self, pods: Pods, plan: IngressPlan, *, exports: Mapping[str, ExportTable], endpoints: EndpointsOf
    ) -> None:
        """``exports`` are the tables of all peers by name, live; those of peers outside the plan do not count."""
        self._pods = pods
        self._plan = plan
        self._exports = exports
        self._endpoints = endpoints

    def update(self, plan: IngressPlan) -> None:
        """Carry out another plan."""
        if plan != self._plan:
            self._plan = plan
            self._pods.refill()

    def exports_changed(self, server_names: Iterable[str]) -> None:
        """What these server names lead to may be another now."""
        self._pods.invalidate(message.CLUSTER, [cluster.EXPORT_PREFIX + name for name in server_names])

    def endpoints_changed(self, keys: Iterable[str]) -> None:
        """The endpoints of these export targets may be others now."""
        self._pods.invalidate(message.ENDPOINTS, keys)

    def fill(self, table: ResourceTable, bind_address: str) -> None:
        peers = self._plan.peers
        secrets = [secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle]) for peer in peers]
        if peers:
            secrets.append(secret.trust_secret(tls.ALL_BUNDLES, [peer.bundle for peer in peers]))
        table.replace(message.SECRET, map(resource, secrets))
        table.replace(message.CLUSTER, [resource(cluster.pilot(self._plan.control_plane))])
        table.replace(message.LISTENER, map(resource, ingress.listeners(self._plan, bind_address)))
        table.replace(message.ROUTES, map(resource, ingress.routes(self._plan)))

    def on_demand(self, type_url: str, name: str) -> Resource | None:
        if type_url == message.ENDPOINTS:
            return self._load_assignment(name)
        server_name = name.removeprefix(cluster.EXPORT_PREFIX)
        return None if server_name == name else self._exported(server_name)

    def _load_assignment(self, key: str) -> Resource | None:
        try:
            endpoints = self._endpoints(key)
        except ValueError:
            return None  # no key of an export target
        return Resource.of(key, message.serialised(endpoint.load_assignment(key, endpoints)))

    def _exported(self, server_name: str) -> Resource | None:
        requested = parse_sni(server_name)
        # A port has one spelling: what is withdrawn is withdrawn under the names that the export table can tell.
        if server_name not in {requested.hostname, outbound_sni(requested.hostname, requested.port or 0)}:
            return None
        peer = exported_to(requested.hostname) or ""
        admitted = any(each.name == peer for each in self._plan.peers)
        exports = self._exports.get(peer) if admitted else None
        target = exports.target(server_name) if exports is not None else None
        if target is None:
            return None
        # Several server names may lead to one target, and then share its endpoints.
        return resource(cluster.exported(server_name, target), needs=[(message.ENDPOINTS, target.key)])


class Egress:
    """What leaves the mesh. It knows its imports also while the gateway has no role, or another."""

    def __init__(self, pods: Pods, plan: EgressPlan) -> None:
        self._pods = pods
        self._plan = plan
        self._imports: dict[int, ImportedPort] = dict(plan.imports)
        self._blocks: Counter[int] = Counter(map(egress.block_of, self._imports))

    def update(self, plan: EgressPlan) -> None:
        """Carry out another plan but for its imports, which come and go one by one."""
        if (plan.peers, plan.access_log) != (self._plan.peers, self._plan.access_log):
            self._plan = plan
            if self._pods.role is self:
                self._pods.refill()

    def put_import(self, port: ImportedPort) -> None:
        """An imported port is new, or another than it was."""
        before, self._imports[port.gateway_port] = self._imports.get(port.gateway_port), port
        if before == port:
            return
        block = egress.block_of(port.gateway_port)
        self._blocks[block] += before is None
        if self._pods.role is not self:
            return
        self._pods.invalidate(message.CLUSTER, [cluster.import_cluster_name(port.gateway_port)])
        if egress.has_chains(block) or (before is None and self._blocks[block] == 1):
            self._put_listener(block)

    def remove_import(self, gateway_port: int) -> None:
        """An imported port is there no longer."""
        if self._imports.pop(gateway_port, None) is None:
            return
        block = egress.block_of(gateway_port)
        self._blocks[block] -= 1
        if self._pods.role is not self:
            return
        self._pods.invalidate(message.CLUSTER, [cluster.import_cluster_name(gateway_port)])
        if not self._blocks[block]:
            for table in self._pods.tables():
                table.remove(message.LISTENER, egress.block_name(block))
        elif egress.has_chains(block):
            self._put_listener(block)

    def _put_listener(self, block: int) -> None:
        for bind_address, table in self._pods.items():
            table.put(message.LISTENER, resource(egress.imports(self._plan, block, bind_address, self._imports)))

    def fill(self, table: ResourceTable, bind_address: str) -> None:
        peers = self._plan.peers
        table.replace(
            message.SECRET, [resource(secret.trust_secret(tls.bundle_name(peer.name), [peer.bundle])) for peer in peers]
        )
        table.replace(message.CLUSTER, [resource(cluster.discovery(peer)) for peer in peers])
        listeners = [egress.imports(self._plan, block, bind_address, self._imports) for block in sorted(+self._blocks)]
        table.replace(message.LISTENER, map(resource, [egress.discovery(self._plan, bind_address), *listeners]))
        table.replace(message.ROUTES, map(resource, egress.routes(self._plan)))

    def on_demand(self, type_url: str, name: str) -> Resource | None:
        number = name.removeprefix(cluster.IMPORT_PREFIX)
        known = type_url == message.CLUSTER and number.isascii() and number.isdigit()
        port = self._imports.get(int(number)) if known else None
        peer = next((peer for peer in self._plan.peers if port is not None and peer.name == port.peer), None)
        return None if port is None or peer is None else resource(cluster.imported(port, peer))


def _refresh(table: ResourceTable) -> None:
    for kind in (message.CLUSTER, message.ENDPOINTS):
        table.refresh(kind)


def resource(built: Any, *, needs: Iterable[tuple[str, str]] = ()) -> Resource:
    """A protobuf message with a name, as an xDS resource."""
    return Resource.of(built.name, message.serialised(built), needs=needs)
