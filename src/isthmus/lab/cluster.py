"""One cluster in one process: API server, controllers, node, service proxy and name server, wired together.

All of them but the API server are its clients over its wire protocol, with one informer a kind between them.
"""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog
import yaml
from lightkube import KubeConfig
from lightkube.config.kubeconfig import SingleConfig

from isthmus.lab.access import Access, access
from isthmus.lab.apiserver import ApiServer, Settings, Started
from isthmus.lab.client import Informers
from isthmus.lab.clusters import ClusterFolder, OtherZones
from isthmus.lab.controllers import (
    DeploymentController,
    EndpointSliceController,
    GarbageCollector,
    LoadBalancerController,
    NamespaceController,
    NamespaceSettings,
    ReplicaSetController,
    Scheduler,
)
from isthmus.lab.dns import DnsServer, DnsSettings
from isthmus.lab.dns.stubs import Upstream
from isthmus.lab.node import Cluster, Node, NodeSettings
from isthmus.lab.node.logs import LogStore
from isthmus.lab.node_logs import NodeLogs, node_client, publish_client_authority
from isthmus.lab.plan import API_PORT, ClusterPlan
from isthmus.lab.proxy import ServiceProxy

log = structlog.get_logger()


class Part(Protocol):
    """Something that works until it is cancelled."""

    async def run(self) -> None:
        """Work."""


class LabCluster:
    """One cluster. :meth:`run` serves until ``stop`` is set, and then ends everything in order."""

    def __init__(self, folder: ClusterFolder, plan: ClusterPlan) -> None:
        self._folder = folder
        self._plan = plan

    async def run(self, started: "asyncio.Future[Started]", *, stop: asyncio.Event) -> None:
        """Serve. ``started`` is done when pods can be created and reached."""
        own = LogStore(self._pod_folder)
        logs = NodeLogs(own)
        settings = Settings(
            data_dir=self._folder.path / "apiserver",
            host=self._plan.address,
            port=API_PORT,
            service_cidr=str(self._plan.services),
            cluster_name=self._plan.name,
        )
        async with asyncio.TaskGroup() as group:
            api_started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
            server = group.create_task(ApiServer(settings, logs=logs).run(api_started), name="api server")
            api = await api_started
            async with access(_config(api)) as clients, node_client(api, self._folder.path / "client.pem") as nodes:
                informers = Informers(clients.client)
                await publish_client_authority(clients.client, api.ca)
                logs.reach(informers, nodes)
                await self._run_parts(api, clients, informers, own, started, stop)
            server.cancel()

    @property
    def _pod_folder(self) -> Path:
        return self._folder.path / "pods"

    async def _run_parts(
        self,
        api: Started,
        clients: Access,
        informers: Informers,
        logs: LogStore,
        started: "asyncio.Future[Started]",
        stop: asyncio.Event,
    ) -> None:
        plan, client, http = self._plan, clients.client, clients.http
        node_settings = self._node_settings(api)
        node = Node(client, informers, http=http, logs=logs, settings=node_settings)
        names = DnsServer(informers, self._dns_settings())
        parts: list[Part] = [
            Scheduler(client, informers),
            DeploymentController(client, informers),
            ReplicaSetController(client, informers),
            EndpointSliceController(client, informers),
            LoadBalancerController(client, informers, pool=plan.load_balancers, apps_domain=plan.apps_domain),
            NamespaceController(client, informers, http=http, settings=NamespaceSettings(root_ca=api.ca.decode())),
            ServiceProxy(client, informers, node=node_settings.name, node_address=plan.address),
            GarbageCollector(client, informers, http=http),
        ]
        async with asyncio.TaskGroup() as group:
            names_started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            service = [group.create_task(names.run(names_started), name="dns")]
            service.append(group.create_task(informers.run(), name="informers"))
            await names_started
            await informers.wait_synced()
            service += [group.create_task(part.run(), name=type(part).__name__) for part in parts]
            pods = group.create_task(node.run(), name="node")
            await node.ready.wait()
            started.set_result(api)
            await stop.wait()
            node.stop()
            await asyncio.wait([pods])
            for task in service:
                task.cancel()

    def _node_settings(self, api: Started) -> NodeSettings:
        plan = self._plan
        cluster = Cluster(
            server_host=api.host, server_port=api.port, ca=api.ca.decode(), dns=f"{plan.dns[0]}:{plan.dns[1]}"
        )
        return NodeSettings(
            name=f"{plan.name}-node", folder=self._pod_folder, address=plan.address, pods=plan.pods, cluster=cluster
        )

    def _dns_settings(self) -> DnsSettings:
        plan = self._plan
        others = OtherZones(self._folder.root, plan.name, clock=time.monotonic)
        return DnsSettings(
            address=plan.dns.host,
            port=plan.dns.port,
            apps_domain=plan.apps_domain,
            other_zones=lambda: [(zone, Upstream(*server)) for zone, server in others()],
        )


def _config(api: Started) -> SingleConfig:
    document = yaml.safe_load(replace(api.kubeconfig(), credential=None).to_yaml())
    config = KubeConfig.from_dict(document).get()
    if config is None:
        raise ValueError(f"Reading the kubeconfig of {api.url}: it has no current context")
    return config
