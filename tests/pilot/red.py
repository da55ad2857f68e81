"""Mesh red on a lab's API server: its control plane as it runs in a pod, and peer green behind red's egress gateway.

Green is reached as it is in earnest, through red's egress gateway, for which a real discovery server stands in: it has
the gateway's certificate, and serves what green's feed says.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from starlette.types import ASGIApp
from tests.discovery.mesh import GreenLink, behind_gateways
from tests.kube.lab import Lab, connected
from tests.waiting import until

from isthmus.api.crds import crds
from isthmus.discovery import Caller, DiscoveryServer, ExportFeed, discovery_app
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain, X509Svid
from isthmus.kube import Client
from isthmus.logs import Levels
from isthmus.mutual_tls import client_context, server_context
from isthmus.pilot.app import run
from isthmus.pilot.settings import DISCOVERY_PORT, MONITORING_PORT, Settings
from isthmus.pilot.trust import load_authority

NAMESPACE = "red-mesh-system"
POD_IP, EGRESS_IP = "127.79.0.10", "127.79.0.20"
GREEN = TrustDomain("green-mesh.local")
GREEN_INGRESS = SpiffeId.service_account(
    GREEN, namespace="green-mesh-system", account="ingress-red-mesh-service-account"
)
GREEN_CLIENT = "green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"
FORWARDED = {"x-forwarded-client-cert": f"Hash=abc;URI=spiffe://{GREEN_CLIENT}"}
"""What red's ingress gateway writes of green's certificate."""

CLUSTER = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: bookinfo}}
---
apiVersion: v1
kind: Service
metadata:
  name: egress-green-mesh
  namespace: {NAMESPACE}
  labels: {{federation.maistra.io/egress-for: egress-green-mesh}}
spec: {{ports: [{{name: discovery, port: 8188}}]}}
"""
IMPORT_ALL = f"""
apiVersion: federation.maistra.io/v1
kind: ImportedServiceSet
metadata: {{name: green-mesh, namespace: {NAMESPACE}}}
spec: {{importRules: [{{type: NameSelector, nameSelector: {{}}}}]}}
"""
IMPORT_AS_LOCAL = f"""
apiVersion: federation.maistra.io/v1
kind: ImportedServiceSet
metadata: {{name: green-mesh, namespace: {NAMESPACE}}}
spec:
  importRules:
  - type: NameSelector
    importAsLocal: true
    nameSelector: {{alias: {{namespace: bookinfo}}}}
"""
EXPORT_ALL = f"""
apiVersion: federation.maistra.io/v1
kind: ExportedServiceSet
metadata: {{name: green-mesh, namespace: {NAMESPACE}}}
spec: {{exportRules: [{{type: NameSelector, nameSelector: {{namespace: bookinfo}}}}]}}
"""


def settings(pod: str = "istiod-red-mesh-0", ip: str = POD_IP) -> Settings:
    """Red's control plane."""
    return Settings(
        mesh="red-mesh", namespace=NAMESPACE, trust_domain=TrustDomain("red-mesh.local"), pod_name=pod, pod_ip=ip
    )


def peer(**security: str) -> str:
    """The ServiceMeshPeer of green, as YAML."""
    spec = {
        "remote": {"addresses": ["192.0.2.1"]},
        "gateways": {"ingress": {"name": "ingress-green-mesh"}, "egress": {"name": "egress-green-mesh"}},
        "security": {"trustDomain": str(GREEN), "clientID": GREEN_CLIENT, **security},
    }
    kind = {"apiVersion": "federation.maistra.io/v1", "kind": "ServiceMeshPeer"}
    return json.dumps({**kind, "metadata": {"name": "green-mesh", "namespace": NAMESPACE}, "spec": spec})


def service(name: str, *ports: ServicePort, namespace: str = "bookinfo") -> ServiceMessage:
    """A service that green exports to red."""
    return ServiceMessage(
        name=name,
        namespace=namespace,
        hostname=f"{name}.{namespace}.svc.red-mesh-exports.local",
        service_ports=ports or (ServicePort("http", 9080, "HTTP"),),
        service_accounts=(str(GREEN_INGRESS),),
    )


RATINGS = service("ratings")


@dataclass
class AnyCaller:
    """The exporter of green; who may call was for the gateways to decide."""

    green: GreenLink

    def link(self, peer: str, caller: Caller) -> GreenLink:
        """The one link."""
        return self.green


@dataclass
class Red:
    """The mesh's cluster, and who looks at it."""

    lab: Lab
    client: Client
    folder: Path
    authority: Authority
    green: Authority = field(default_factory=lambda: Authority.self_signed(GREEN, now=datetime.now(UTC)))
    feed: ExportFeed = field(default_factory=lambda: ExportFeed([RATINGS]))

    async def apply(self, *documents: str) -> None:
        """Apply YAML as an administrator."""
        code, output = await self.lab.kubectl("apply", "-f", "-", stdin="\n---\n".join(documents))
        assert code == 0, output

    async def kubectl(self, *arguments: str) -> str:
        """What kubectl says of the mesh's namespace."""
        code, output = await self.lab.kubectl("-n", NAMESPACE, *arguments)
        assert code == 0, output
        return output

    async def status(self, kind: str = "servicemeshpeer") -> dict[str, Any]:
        """The status of green's resource of that kind; of a peer of which nothing is told yet, nobody is active."""
        found: dict[str, Any] = json.loads(await self.kubectl("get", kind, "green-mesh", "-o", "json"))
        status: dict[str, Any] = found.get("status", {})
        if kind == "servicemeshpeer":
            status.setdefault("discoveryStatus", {"active": [], "inactive": []})
        return status

    async def services(self, namespace: str = NAMESPACE) -> list[Service]:
        """The Services of imports."""
        found = self.client.api.list(Service, namespace=namespace, labels={"app.kubernetes.io/managed-by": "isthmus"})
        return [each async for each in found]

    async def slices(self, namespace: str = NAMESPACE) -> list[EndpointSlice]:
        """The EndpointSlices of imports."""
        found = self.client.api.list(
            EndpointSlice, namespace=namespace, labels={"endpointslice.kubernetes.io/managed-by": "isthmus"}
        )
        return [each async for each in found]

    async def import_slice(self, namespace: str = NAMESPACE) -> EndpointSlice:
        """The one EndpointSlice of the one import, as soon as it leads somewhere."""

        async def is_there() -> bool:
            return [len(each.endpoints or ()) > 0 for each in await self.slices(namespace)] == [True]

        await until(is_there)
        return (await self.slices(namespace))[0]

    async def wait_services(self, count: int, namespace: str = NAMESPACE) -> list[Service]:
        """The Services of imports, as soon as there are so many."""

        async def are_there() -> bool:
            return len(await self.services(namespace)) == count

        await until(are_there)
        return await self.services(namespace)

    @property
    def green_root(self) -> str:
        """The ConfigMap with green's root, as YAML."""
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "green-mesh-ca-root-cert", "namespace": NAMESPACE},
            "data": {"root-cert.pem": self.green.root_cert_pem.decode()},
        }
        return json.dumps(document)

    async def move_egress(self, *addresses: str, **conditions: bool) -> None:
        """The pods of the egress gateway are at these addresses now, ready unless ``conditions`` say otherwise."""
        await self.apply(_egress_pods(*addresses, **conditions))

    @property
    def bundle(self) -> TrustBundle:
        """Red's own roots."""
        return TrustBundle.of(TrustDomain("red-mesh.local"), self.authority.roots)

    def account(self, name: str) -> SpiffeId:
        """An identity of red."""
        return SpiffeId.service_account(TrustDomain("red-mesh.local"), namespace=NAMESPACE, account=name)

    def svid(self, account: str) -> X509Svid:
        """A certificate of red for a service account."""
        return self.authority.issue_svid(self.account(account), lifetime=timedelta(hours=1), now=datetime.now(UTC))

    def calls(self, account: str) -> ssl.SSLContext:
        """TLS of a client of red."""
        return client_context(self.svid(account), server_roots=self.bundle)

    @asynccontextmanager
    async def green_reachable(self) -> AsyncIterator[None]:
        """Green's discovery, behind red's egress gateway, for the block; at its end all connections break."""
        link = GreenLink(TrustBundle.of(GREEN, self.green.roots), self.feed)
        context = server_context(self.svid("egress-green-mesh-service-account"), client_roots=self.bundle)
        async with _serving(behind_gateways(discovery_app(AnyCaller(link))), context):
            yield

    @asynccontextmanager
    async def control_plane(
        self,
        pod: str = "istiod-red-mesh-0",
        ip: str = POD_IP,
        *,
        told: Settings | None = None,
        levels: Levels | None = None,
    ) -> AsyncIterator[None]:
        """The control plane, for the block, from the moment when it is ready; ``told`` replaces what it is told."""
        async with asyncio.TaskGroup() as tasks:
            running = run(told or settings(pod, ip), kubeconfig=self.lab.kubeconfig, levels=levels)
            task = tasks.create_task(running)
            try:
                await until(lambda: is_ready(ip))
                yield
            finally:
                task.cancel()


def _egress_pods(*addresses: str, **conditions: bool) -> str:
    """The EndpointSlice of the egress gateway's Service, as YAML."""
    metadata = {
        "name": "egress-green-mesh-1",
        "namespace": NAMESPACE,
        "labels": {"kubernetes.io/service-name": "egress-green-mesh"},
    }
    document = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    endpoints = [{"addresses": [address], "conditions": {"ready": True, **conditions}} for address in addresses]
    ports = [{"name": "discovery", "port": 8188}]
    return json.dumps({**document, "addressType": "IPv4", "endpoints": endpoints, "ports": ports})


@asynccontextmanager
async def red_cluster(folder: Path) -> AsyncIterator[Red]:
    """A cluster with red's namespace, its egress gateway, and no control plane yet."""
    async with connected(folder) as (lab, client):
        documents = [CLUSTER, _egress_pods(EGRESS_IP), *(json.dumps(each) for each in crds())]
        await lab.create("\n---\n".join(documents))
        yield Red(lab, client, folder, await load_authority(client, settings()))


@asynccontextmanager
async def _serving(app: ASGIApp, context: ssl.SSLContext) -> AsyncIterator[None]:
    server = DiscoveryServer(app, context, host=EGRESS_IP, port=DISCOVERY_PORT)
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run(started))
        await started
        try:
            yield
        finally:
            task.cancel()


async def is_ready(ip: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(ip, MONITORING_PORT)
    except OSError:
        return False
    writer.write(b"GET /ready HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


def without_server_fields(obj: Service | EndpointSlice) -> dict[str, Any]:
    """What the control plane has written, without what each write changes."""
    built: dict[str, Any] = msgspec.to_builtins(obj)
    for name in ("resourceVersion", "managedFields", "creationTimestamp", "uid", "generation"):
        built["metadata"].pop(name, None)
    return built
