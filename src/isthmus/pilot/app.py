"""The control plane as a process: everything made, wired and started in order.

Order: API connection → CA and own certificate → stores synced → each peer planned once → servers. Whatever fails ends
the process, and its pod starts it again; gateways keep what they have meanwhile.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.api.logs import LogSettings
from isthmus.collector import set_aside
from isthmus.envoy.failure_log import CALLS
from isthmus.federation.export_table import ExportChange
from isthmus.federation.peer import Mesh
from isthmus.federation.plan import Endpoint, ExportTarget
from isthmus.federation.selection import QualifiedName
from isthmus.identity import Authority
from isthmus.kube import Change, Client, ObjectKey, connect
from isthmus.logs import Levels
from isthmus.pilot import settings as ports
from isthmus.pilot.callers import Callers
from isthmus.pilot.checks import Checks, Tools
from isthmus.pilot.cluster import Cluster, service_of
from isthmus.pilot.enrolment import Enrolments
from isthmus.pilot.events import Events
from isthmus.pilot.exporting import Exporting
from isthmus.pilot.facts import FactFinder
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.hindered import Hindered
from isthmus.pilot.inquiry import Inquiry
from isthmus.pilot.invitations import Invitations
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.measured import Observed
from isthmus.pilot.mesh_settings import MeshSettings
from isthmus.pilot.metrics import Metrics
from isthmus.pilot.names_server import ImportNames
from isthmus.pilot.peers import Parts, Peers
from isthmus.pilot.probes import Probes
from isthmus.pilot.servers import Served, start_servers
from isthmus.pilot.settings import Settings
from isthmus.pilot.staleness import Staleness
from isthmus.pilot.status import Sources, StatusWriter
from isthmus.pilot.tls import OwnTls
from isthmus.pilot.trust import OwnIdentity, load_authority, own_bundle, publish_root
from isthmus.pilot.workloads import Workloads
from isthmus.readiness import serve_readiness
from isthmus.reports import GatewayReport

log = structlog.get_logger(__name__)


async def run(settings: Settings, *, kubeconfig: Path | None = None, levels: Levels | None = None) -> None:
    """Run the control plane until cancelled; ``levels`` are those of this process's log, which the mesh may set.

    Raises:
        KubeError: the API server cannot be reached, or refuses what a control plane needs at its start.
        InvalidAuthorityError: the CA that the administrator brought cannot be used.
        OSError: a port is taken, or the address is not ours.
    """
    async with connect(field_manager="istiod", kubeconfig=kubeconfig) as client:
        authority = await load_authority(client, settings)
        await publish_root(client, authority, settings)
        await ControlPlane(client, authority, settings, levels or Levels()).run()


class ControlPlane:
    """One pod ``istiod-<mesh>``."""

    def __init__(self, client: Client, authority: Authority, settings: Settings, levels: Levels) -> None:
        """Make all parts; nothing runs before :meth:`run`."""
        self._client = client
        self._authority = authority
        self._settings = settings
        self._levels = levels
        bundle = own_bundle(authority, settings.trust_domain)
        self._mesh = Mesh(
            settings.mesh, settings.namespace, bundle, settings.cluster_domain, settings.trust_domain_aliases
        )
        self._identity = OwnIdentity(authority, settings, self._mesh.pilot_account)
        self._tls = OwnTls(self._identity, bundle)
        self._cluster = Cluster(client, namespace=settings.namespace)
        self._names = ImportNames()
        self._links: dict[str, Link] = {}
        self._exporting = Exporting(
            namespace=settings.namespace,
            cluster_domain=settings.cluster_domain,
            changed=self._exports_changed,
            health=self._cluster.health,
            locality=self._cluster.locality,
        )
        tables = self._exporting.tables
        self._gateways = Gateways(self._mesh, settings.host, exports=tables, endpoints=self._endpoints)
        self._invitations = Invitations(client, self._cluster.invitations, changed=self._gateways.invite)
        self._enrolments = Enrolments(client, self._cluster, self._mesh, self._invitations)
        self._leadership = Leadership(client, namespace=settings.namespace, pod=settings.pod_name)
        self._callers = Callers(changed=self._gateway_changed, now=time.monotonic)
        facts = FactFinder(
            cluster=self._cluster,
            gateways=self._gateways,
            callers=self._callers,
            links=self._links,
            started_at=time.monotonic(),
        )
        self._status = StatusWriter(client, self._cluster, self._sources(facts))
        probes = Probes(self._mesh, self._cluster, self._tls, pod_ip=settings.pod_ip)
        self._inquiry = Inquiry(
            self._links, self._leadership, facts=facts, probes=probes, changed=self._status.peer_changed
        )
        hindered = Hindered(self._links, changed=self._status.sets_changed)
        self._workloads = Workloads(client, self._cluster, self._gateways, self._links, self._leadership, hindered)
        tools = Tools(cluster=self._cluster, facts=facts, probes=probes, workloads=self._workloads)
        self._checks = Checks(client, tools, self._leadership, pod=settings.pod_name)
        self._staleness = Staleness(self._links, changed=self._availability_changed)
        self._peers = Peers(self._mesh, self._parts(), pod=settings.pod_name, pod_ip=settings.pod_ip)
        self._mesh_settings = MeshSettings(settings.mesh, changed=self._settings_changed)
        self._metrics = Metrics(self._observed())
        self._is_serving = False

    async def run(self) -> None:
        """Run until cancelled."""
        async with (
            serve_readiness(
                self._settings.pod_ip, ports.MONITORING_PORT, self._problem, pages={"/metrics": self._metrics.page}
            ),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._cluster.run(), name="follow the cluster")
            await self._cluster.wait_synced()
            self._cluster.config_maps.subscribe(self._mesh_settings.config_map_changed)
            self._cluster.subscribe_places(self._exporting.places_changed)
            self._cluster.namespaces.subscribe(self._exporting.namespace_changed)
            self._cluster.member_rolls.subscribe(self._exporting.member_roll_changed)
            self._cluster.services.subscribe(self._exporting.service_changed)
            self._cluster.services.subscribe(self._names.service_changed)
            self._cluster.services.subscribe(self._service_changed)
            self._cluster.slices.subscribe(self._slice_changed)
            self._invitations.follow()
            tasks.create_task(self._identity.run(), name="own certificate")
            tasks.create_task(self._status.run(), name="status")
            tasks.create_task(self._workloads.run(), name="imports")
            tasks.create_task(self._staleness.run(), name="staleness")
            tasks.create_task(self._inquiry.run(), name="inquiry")
            tasks.create_task(self._checks.run(), name="checks")
            tasks.create_task(self._peers.run(), name="peers")
            tasks.create_task(self._invitations.run(), name="invitations")
            self._cluster.pods.subscribe(self._pod_changed)
            self._gateways.subscribe(self._gateway_changed)
            tasks.create_task(self._leadership.run(), name="leadership")
            # A gateway that came back before that would be told that all it has is gone.
            await self._peers.planned.wait()
            await start_servers(self._served(), tasks)
            self._is_serving = True
            set_aside()
            log.info("control plane serves", mesh=self._mesh.name, trust_domain=str(self._mesh.trust_domain))

    def _sources(self, facts: FactFinder) -> Sources:
        return Sources(
            namespace=self._settings.namespace,
            leadership=self._leadership,
            links=self._links,
            exports=self._exporting.tables,
            peer_facts=facts.peer_facts,
            events=Events(self._client, pod=self._settings.pod_name),
        )

    def _parts(self) -> Parts:
        return Parts(
            cluster=self._cluster,
            tls=self._tls,
            links=self._links,
            exporting=self._exporting,
            gateways=self._gateways,
            staleness=self._staleness,
            status=self._status,
            inquiry=self._inquiry,
            workloads=self._workloads,
        )

    def _observed(self) -> Observed:
        return Observed(
            mesh=self._mesh,
            authority=self._authority,
            identity=self._identity,
            links=self._links,
            feeds=self._exporting.feeds,
            gateways=self._gateways,
            leadership=self._leadership,
            status=self._status,
            names=self._names,
            stores=self._cluster.stores,
            queues=[
                self._peers.queue,
                self._workloads.queue,
                self._status.queue,
                self._staleness.queue,
                self._inquiry.queue,
                self._checks.queue,
            ],
        )

    def _served(self) -> Served:
        return Served(
            client=self._client,
            authority=self._authority,
            settings=self._settings,
            identity=self._identity,
            tls=self._tls,
            peers=self._peers,
            enrolments=self._enrolments,
            gateways=self._gateways,
            names=self._names,
            pushes=self._metrics.pushes,
            reported=self._reported,
        )

    def _endpoints(self, key: str) -> list[Endpoint]:
        target = ExportTarget.parse(key)
        return self._cluster.endpoints(QualifiedName(target.namespace, target.service), target.port)

    def _exports_changed(self, peer: str, changes: Sequence[ExportChange]) -> None:
        names = [name for change in changes for name in change.server_names]
        for ingress in self._gateways.ingresses():
            ingress.exports_changed(names)
        self._status.sets_changed(peer)

    def _reported(self, gateway: str, report: GatewayReport) -> None:
        if self._gateways.faces_peers(gateway):
            self._callers.reported(gateway, report)
        elif report.log == CALLS:
            self._inquiry.call_failed(report.peer)

    def _gateway_changed(self, name: str) -> None:
        self._inquiry.gateway_changed(name)

    def _availability_changed(self, peer: str) -> None:
        self._workloads.readiness_changed(peer)
        self._status.sets_changed(peer)

    def _settings_changed(self, settings: LogSettings) -> None:
        by_component = settings.general.logging.component_levels
        log.info("log levels set", levels=dict(by_component))
        unknown = self._levels.set(by_component)
        if unknown:
            log.warning("no such components to log of", components=unknown)
        self._gateways.write_access_log(settings.proxy.access_logging.file)

    def _pod_changed(self, change: Change[Pod]) -> None:
        if change.new is None:
            self._status.pods_changed()

    def _service_changed(self, change: Change[Service]) -> None:
        self._endpoints_changed(QualifiedName(change.key.namespace, change.key.name))

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for each in (change.old, change.new):
            for name in service_of(each) if each is not None else ():
                self._endpoints_changed(name)
                if name.namespace == self._settings.namespace:
                    self._gateway_changed(name.name)

    def _endpoints_changed(self, name: QualifiedName) -> None:
        self._exporting.endpoints_changed(name)
        service = self._cluster.services.get(ObjectKey(name.namespace, name.name))
        numbers = [port.port for port in (service.spec.ports if service and service.spec else None) or ()]
        keys = [ExportTarget(name.namespace, name.name, number).key for number in numbers]
        for ingress in self._gateways.ingresses():
            ingress.endpoints_changed(keys)

    async def _problem(self) -> str | None:
        return None if self._is_serving else "the control plane is starting"
