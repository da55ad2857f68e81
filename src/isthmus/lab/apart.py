"""A node by itself, in a process of its own: it runs pods for any API server that a kubeconfig leads to.

It is a client of that server and nothing else. If it is told where Services have their addresses, it also runs the
proxy that answers there, and a name server for its pods: what kube-proxy and the cluster's DNS do on other nodes.
"""

import asyncio
import fcntl
import os
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import httpx2
import structlog
from lightkube.config.kubeconfig import SingleConfig

from isthmus.lab.access import Access, access, cluster_of, read_config
from isthmus.lab.client import Informers
from isthmus.lab.dns import DnsServer, DnsSettings
from isthmus.lab.errors import ClusterError, ClusterRunningError
from isthmus.lab.node import Node, NodeSettings
from isthmus.lab.node.log_server import PORT, LogServer, LogServerSettings
from isthmus.lab.node.logs import LogStore
from isthmus.lab.plan import DNS_PORT, NAME
from isthmus.lab.process import run_process, stop_at_signals
from isthmus.lab.proxy import ServiceProxy
from isthmus.lab.ranges import require_disjoint, require_here

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ApartSettings:
    """What a node by itself is.

    kubeconfig, context: the API server; no context means the current one. pods: the range of pods' addresses, whose
    first one is the node's own. services: the range of Services' addresses, None to leave them to others; dns: the
    name server that pods are told of then, ``ip:port``, empty for none. apps_domain: the zone of load balancers' names.
    """

    name: str
    folder: Path
    kubeconfig: Path
    context: str | None
    pods: IPv4Network
    services: IPv4Network | None
    dns: str
    apps_domain: str

    @property
    def address(self) -> str:
        """The node's own address."""
        return str(self.pods[1])

    @property
    def name_server(self) -> str:
        """The name server that pods are told of."""
        return self.dns if self.services is None else f"{self.address}:{DNS_PORT}"


def run_apart(settings: ApartSettings) -> None:
    """Run a node in this process until SIGTERM or SIGINT; its pods end with it.

    Raises ClusterError if it runs already, the machine lacks its addresses, or the server can't be reached.
    """
    if not NAME.fullmatch(settings.name):
        raise ClusterError(f"Naming a node {settings.name!r}: expected up to 40 lower-case letters, digits and '-'")
    ranges = [settings.pods, *([settings.services] if settings.services else [])]
    require_disjoint(ranges, [])
    for network in ranges:
        require_here(network)
    config = read_config(settings.kubeconfig, settings.context)
    descriptor = _hold(settings)
    try:
        run_process(_run(settings, config), what=f"Running node {settings.name!r}")
    finally:
        os.close(descriptor)


def _hold(settings: ApartSettings) -> int:
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(settings.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ClusterRunningError(f"Starting node {settings.name!r}: another process runs it already") from None
    return descriptor


async def _run(settings: ApartSettings, config: SingleConfig) -> None:
    stop = stop_at_signals()
    async with access(config) as clients:
        await _require_server(clients.http, config.cluster.server)
        await _run_parts(settings, config, clients, stop)


async def _require_server(http: httpx2.AsyncClient, server: str) -> None:
    try:
        answer = await http.get("/api/v1/nodes", params={"limit": 1})
        answer.raise_for_status()
    except httpx2.HTTPError as error:
        raise ClusterError(f"Reaching {server}: {str(error) or type(error).__name__}; check the kubeconfig") from error


async def _run_parts(settings: ApartSettings, config: SingleConfig, clients: Access, stop: asyncio.Event) -> None:
    informers = Informers(clients.client)
    logs = LogStore(settings.folder / "pods")
    served = LogServerSettings(node=settings.name, address=settings.address, folder=settings.folder)
    log_server = LogServer(clients.client, informers, logs=logs, settings=served)
    node = Node(
        clients.client,
        informers,
        http=clients.http,
        logs=logs,
        settings=NodeSettings(
            name=settings.name,
            folder=settings.folder / "pods",
            address=settings.address,
            pods=settings.pods,
            cluster=cluster_of(config, dns=settings.name_server),
            log_port=PORT,
        ),
    )
    network = _Network(settings, clients, informers) if settings.services else None
    async with asyncio.TaskGroup() as group:
        service = [group.create_task(network.run(), name="network")] if network else []
        service.append(group.create_task(informers.run(), name="informers"))
        await informers.wait_synced()
        service.append(group.create_task(log_server.run(), name="logs"))
        pods = group.create_task(node.run(), name="node")
        await node.ready.wait()
        log.info("node is ready", node=settings.name, address=settings.address, pods=str(settings.pods))
        await stop.wait()
        node.stop()
        await asyncio.wait([pods])
        for task in service:
            task.cancel()


class _Network:
    """What answers at the addresses of Services, and for their names."""

    def __init__(self, settings: ApartSettings, clients: Access, informers: Informers) -> None:
        names = DnsSettings(
            address=settings.address, port=DNS_PORT, apps_domain=settings.apps_domain, other_zones=lambda: ()
        )
        self._names = DnsServer(informers, names)
        self._proxy = ServiceProxy(clients.client, informers, node=settings.name, node_address=settings.address)

    async def run(self) -> None:
        """Answer until cancelled. Raises OSError if the name server's address is taken."""
        async with asyncio.TaskGroup() as group:
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            group.create_task(self._names.run(started), name="dns")
            await started
            group.create_task(self._proxy.run(), name="service proxy")
