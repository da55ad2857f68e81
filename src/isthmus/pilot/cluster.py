"""Ingest: what the pilot knows of its cluster, followed by one reflector a kind.

Stores only; what is made of a change is decided by those who subscribe.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, Secret, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.api import ServiceMeshMemberRoll, ServiceMeshPeer
from isthmus.api.followed import FollowedExports, FollowedImports
from isthmus.federation.invitation import LABEL
from isthmus.federation.messages import Health, Locality
from isthmus.federation.plan import Endpoint
from isthmus.federation.selection import QualifiedName
from isthmus.kube import Change, Client, Index, ObjectKey, Reflector, Selection, Store
from isthmus.pilot.services import health, locality, ready_endpoints
from isthmus.pilot.trimming import trimmed_service, trimmed_slice

SERVICE_NAME = "kubernetes.io/service-name"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
"""Labels of nodes."""


class Cluster:
    """What is shared, of the whole cluster; everything else of the control plane's namespace."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        """Prepare; nothing is read before :meth:`run`."""
        self.namespace = namespace
        self.services: Store[Service] = Store(trimmed_service)
        self.slices: Store[EndpointSlice] = Store(trimmed_slice)
        self.config_maps: Store[ConfigMap] = Store()
        self.pods: Store[Pod] = Store()
        self.peers: Store[ServiceMeshPeer] = Store()
        self.exports: Store[FollowedExports] = Store()
        self.imports: Store[FollowedImports] = Store()
        self.member_rolls: Store[ServiceMeshMemberRoll] = Store()
        self.invitations: Store[Secret] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.nodes: Store[Node] = Store()
        self._regions: Mapping[str, str] = {}
        """By zone, as the labels of nodes have it."""
        self._places_subscribers: list[Callable[[], None]] = []
        self.nodes.subscribe(self._node_changed)
        self._slices_by_service: Index[QualifiedName, EndpointSlice] = Index(self.slices, service_of)
        self.stores: Final[Mapping[str, Store[Any]]] = {
            "Service": self.services,
            "EndpointSlice": self.slices,
            "ConfigMap": self.config_maps,
            "Pod": self.pods,
            "ServiceMeshPeer": self.peers,
            "ExportedServiceSet": self.exports,
            "ImportedServiceSet": self.imports,
            "ServiceMeshMemberRoll": self.member_rolls,
            "Secret": self.invitations,
            "Namespace": self.namespaces,
            "Node": self.nodes,
        }
        """All stores by kind."""
        own = Selection(namespace=namespace)
        self._reflectors: list[Reflector[Any]] = [
            Reflector(client, Service, self.services),
            Reflector(client, EndpointSlice, self.slices),
            Reflector(client, Namespace, self.namespaces),
            Reflector(client, Node, self.nodes),
            Reflector(client, ConfigMap, self.config_maps, selection=own),
            Reflector(client, Pod, self.pods, selection=own),
            Reflector(client, ServiceMeshPeer, self.peers, selection=own),
            Reflector(client, FollowedExports, self.exports, selection=own),
            Reflector(client, FollowedImports, self.imports, selection=own),
            Reflector(client, ServiceMeshMemberRoll, self.member_rolls, selection=own),
            Reflector(client, Secret, self.invitations, selection=Selection(namespace=namespace, labels=LABEL)),
        ]

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())

    async def wait_synced(self) -> None:
        """Wait until everything was seen once; what is not there then does not exist."""
        for store in self.stores.values():
            await store.synced.wait()

    def endpoints(self, service: QualifiedName, port: int) -> list[Endpoint]:
        """The ready endpoints behind one port of a Service."""
        known = self.services.get(ObjectKey(service.namespace, service.name))
        return ready_endpoints(known, self._slices_by_service.get(service), port) if known else []

    def health(self, service: QualifiedName) -> Health | None:
        """How many pods stand behind a Service; None while that is unknown."""
        return health(self._slices_by_service.get(service))

    def locality(self, service: QualifiedName) -> Locality | None:
        """Where the pods behind a Service are; None while that is unknown, or in several regions."""
        return locality(self._slices_by_service.get(service), self._regions)

    def subscribe_places(self, subscriber: Callable[[], None]) -> None:
        """Call ``subscriber`` whenever a zone is known to be of a region, or of another than before."""
        self._places_subscribers.append(subscriber)

    def _node_changed(self, change: Change[Node]) -> None:
        """Know the region of each zone; a zone of which there is no node any more keeps its own."""
        zone, region = _place_of(change.new) if change.new is not None else ("", "")
        if zone and region and self._regions.get(zone) != region:
            self._regions = {**self._regions, zone: region}
            for subscriber in self._places_subscribers:
                subscriber()

    def pod_addresses(self, service: str) -> list[str]:
        """The addresses of the ready pods behind a Service of the control plane's namespace."""
        slices = self._slices_by_service.get(QualifiedName(self.namespace, service))
        found = {address for each in slices for address in ready_addresses(each)}
        return sorted(found)

    def gateway_addresses(self, service: str) -> list[str]:
        """The addresses of the pods behind a gateway's Service: of the ready ones, or else of those that are to stay.

        Whoever calls a gateway that is alone and not ready is refused in either case; this way, all that leads to it
        need not be written twice while its Envoy is started again, and works as soon as it does.
        """
        ready = self.pod_addresses(service)
        if ready:
            return ready
        slices = self._slices_by_service.get(QualifiedName(self.namespace, service))
        return sorted({address for each in slices for address in staying_addresses(each)})

    def own_pods(self) -> set[str]:
        """The names of all pods of the control plane's namespace."""
        return {key.name for key in self.pods.keys()}  # noqa: SIM118  (a view)


def _place_of(node: Node) -> tuple[str, str]:
    """The zone of a node and its region, as far as its labels tell them."""
    labels = (node.metadata.labels if node.metadata else None) or {}
    return labels.get(ZONE, ""), labels.get(REGION, "")


def service_of(endpoint_slice: EndpointSlice) -> list[QualifiedName]:
    """The Service that a slice belongs to, if it says so."""
    metadata = endpoint_slice.metadata or ObjectMeta()
    name = (metadata.labels or {}).get(SERVICE_NAME)
    return [QualifiedName(metadata.namespace or "", name)] if name else []


def ready_addresses(endpoint_slice: EndpointSlice) -> list[str]:
    """The addresses of a slice's ready endpoints, whatever the port."""
    ready = [
        each for each in endpoint_slice.endpoints or () if each.conditions is None or each.conditions.ready is not False
    ]
    return [address for each in ready for address in each.addresses]


def staying_addresses(endpoint_slice: EndpointSlice) -> list[str]:
    """The addresses of a slice's endpoints whose pods are not on their way out."""
    return [
        address
        for each in endpoint_slice.endpoints or ()
        if each.conditions is None or not each.conditions.terminating
        for address in each.addresses
    ]
