"""The real thing for stories of the whole plan: red's control plane on a lab's API server, green behind a stand-in for
red's egress gateway, and two gateways that take their configuration."""

import asyncio
import json
import tempfile
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import dns.asyncquery
import dns.message
import dns.rcode
import grpc
import httpx2
import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.service.discovery.v3 import discovery_pb2
from lightkube.resources.core_v1 import ConfigMap, Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.pilot.red import FORWARDED, NAMESPACE, POD_IP, Red, peer, red_cluster, service, settings
from tests.pilot.whole_model import ALL_NAMES, ALL_SERVER_NAMES, ALWAYS_THERE, Offer, offered_host

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshPeer
from isthmus.envoy.message import CLUSTER
from isthmus.federation.messages import Health, ServicePort, parse_service_list
from isthmus.kube.errors import NotFound, translated
from isthmus.pilot.settings import DISCOVERY_PORT, DNS_PORT, XDS_PORT
from isthmus.xds import AGGREGATED

T = TypeVar("T")
IMPORTS_LABEL: dict[str, Any] = {"app.kubernetes.io/managed-by": "isthmus"}
SLICES_LABEL: dict[str, Any] = {"endpointslice.kubernetes.io/managed-by": "isthmus"}
INGRESS, EGRESS = "ingress-green-mesh-service-account", "egress-green-mesh-service-account"
FIRST_PORTS = range(16000, 16016)
GATEWAY_PORTS = "isthmus.io/gateway-ports"
EXPORTED_NAME, HOSTNAME = "isthmus.io/exported-name", "isthmus.io/hostname"


class Held(Generic[T]):
    """An asynchronous context that a task of its own enters and leaves."""

    def __init__(self, context: AbstractAsyncContextManager[T]) -> None:
        self._leave = asyncio.Event()
        self._entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._hold(context))

    async def _hold(self, context: AbstractAsyncContextManager[T]) -> None:
        async with context as value:
            self._entered.set_result(value)
            await self._leave.wait()

    async def entered(self) -> T:
        """The context's value, once it has been entered; raises what was raised instead."""
        waiting: list[asyncio.Future[Any]] = [self._entered, self._task]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return await self._entered

    async def left(self) -> None:
        """Leave it."""
        self._leave.set()
        await self._task


@dataclass
class Gateway:
    """A gateway's Envoy: asks for all that it may be served, and holds what it is sent across restarts of the pilot."""

    red: Red
    account: str
    names: list[str]
    held: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Follow the control plane, whenever there is one, until cancelled."""
        svid = self.red.svid(self.account)
        credentials = grpc.ssl_channel_credentials(self.red.authority.root_cert_pem, svid.key_pem, svid.chain_pem)
        options = [
            ("grpc.ssl_target_name_override", settings().service_names[0]),
            ("grpc.max_reconnect_backoff_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 50),
        ]
        async with grpc.aio.secure_channel(f"{POD_IP}:{XDS_PORT}", credentials, options=options) as channel:
            while True:
                with suppress(grpc.aio.AioRpcError):
                    await self._follow(channel)
                await asyncio.sleep(0.05)

    async def _follow(self, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(
            AGGREGATED,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        first = discovery_pb2.DeltaDiscoveryRequest(
            type_url=CLUSTER,
            resource_names_subscribe=["*", *self.names],
            initial_resource_versions=self.versions,
        )
        first.node.metadata.update({"POD_IP": "127.79.0.20"})
        await call.write(first)
        async for response in call:
            for each in response.resources:
                self.held[each.name], self.versions[each.name] = each.resource.value, each.version
            for name in response.removed_resources:
                self.held.pop(name, None)
                self.versions.pop(name, None)
            await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=response.nonce))

    def exports(self) -> dict[str, str]:
        """The server names that lead somewhere, and where to."""
        clusters = {name: cluster_pb2.Cluster.FromString(body) for name, body in self.held.items() if "export|" in name}
        return {name.removeprefix("export|"): each.eds_cluster_config.service_name for name, each in clusters.items()}

    def imports(self) -> dict[int, str]:
        """By gateway port, the server name that is asked of green."""
        return {int(name.removeprefix("import|")): _sni(body) for name, body in self.held.items() if "import|" in name}


def _sni(body: bytes) -> str:
    cluster, context = cluster_pb2.Cluster.FromString(body), tls_pb2.UpstreamTlsContext()
    cluster.transport_socket.typed_config.Unpack(context)
    return str(context.sni)


class World:
    """One lab for many stories, each of which begins with nothing."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ist")
        self._runner = asyncio.Runner()
        self._cluster = self.run(self._held(red_cluster(Path(self._folder.name))))
        self.red: Red = self.run(self._cluster.entered())
        self._forwarded = FORWARDED
        self._plane: Held[None] | None = None
        self._link: Held[None] | None = None
        self.run(self._begin())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the world go on until this is done."""
        return self._runner.run(coroutine)

    async def _held(self, context: AbstractAsyncContextManager[T]) -> Held[T]:
        return Held(context)

    async def _begin(self) -> None:
        await self.red.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        self.ingress = Gateway(self.red, INGRESS, [f"export|{name}" for name in ALL_SERVER_NAMES])
        self.egress = Gateway(self.red, EGRESS, [f"import|{port}" for port in FIRST_PORTS])
        loop = asyncio.get_running_loop()
        self._followers = [loop.create_task(each.run()) for each in (self.ingress, self.egress)]

    def close(self) -> None:
        """End everything."""
        self.run(self._end())
        self._runner.close()
        self._folder.cleanup()

    async def _end(self) -> None:
        for each in self._followers:
            each.cancel()
        await asyncio.wait(self._followers)
        await self.stop()
        await self.unlink()
        await self._cluster.left()

    async def clear(self) -> None:
        """Begin a story: there is a control plane, and nothing else."""
        await self.unlink()
        self.red.feed.replace([])
        for kind in (ServiceMeshPeer, ExportedServiceSet, ImportedServiceSet):
            await self.delete(kind, "green-mesh")
        await self.delete(ConfigMap, "green-mesh-ca-root-cert")
        for namespace, name in (("bookinfo", "ratings"), ("bookinfo", "reviews")):
            await self.delete(Service, name, namespace)
        await self.put_service(ALWAYS_THERE, (9080,), is_front=False)
        if self._plane is None:
            await self.start()

    async def start(self) -> None:
        """Start the control plane, and wait until it serves."""
        self._plane = Held(self.red.control_plane())
        await self._plane.entered()

    async def stop(self) -> None:
        """Stop the control plane."""
        if self._plane is not None:
            await self._plane.left()
            self._plane = None

    async def link(self) -> None:
        """Let red reach green."""
        self._link = self._link or Held(self.red.green_reachable())
        await self._link.entered()

    async def unlink(self) -> None:
        """Cut green off."""
        if self._link is not None:
            await self._link.left()
            self._link = None

    async def put(self, kind: Any, document: dict[str, Any]) -> None:
        """Apply an object as an administrator."""
        made = msgspec.convert(document, kind)
        with translated(f"apply {document['metadata']['name']}"):
            await self.red.client.api.apply(made, force=True, field_manager="administrator")

    async def delete(self, kind: Any, name: str, namespace: str = NAMESPACE) -> None:
        """Delete an object, if it is there."""
        with suppress(NotFound), translated(f"delete {name}"):
            await self.red.client.api.delete(kind, name, namespace=namespace)

    async def put_service(self, name: tuple[str, str], ports: tuple[int, ...], *, is_front: bool) -> None:
        """Create or change a Service of red."""
        metadata = {"namespace": name[0], "name": name[1], "labels": {"app": "front" if is_front else "back"}}
        spec = {"ports": [{"name": f"http-{port}", "port": port} for port in ports]}
        await self.put(Service, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    async def put_peer(self, client: str) -> None:
        """Create or change the ServiceMeshPeer of green, for which this identity speaks from now on."""
        self._forwarded = {"x-forwarded-client-cert": f"Hash=abc;URI=spiffe://{client}"}
        await self.put(ServiceMeshPeer, json.loads(peer(clientID=client)))

    async def put_root(self) -> None:
        """Tell red green's root."""
        await self.put(ConfigMap, json.loads(self.red.green_root))

    async def put_set(self, kind: Any, field: str, rule: dict[str, Any]) -> None:
        """Create or change an export or import set that has one rule."""
        names = {"apiVersion": "federation.maistra.io/v1", "kind": kind.__name__}
        await self.put(
            kind, {**names, "metadata": {"name": "green-mesh", "namespace": NAMESPACE}, "spec": {field: [rule]}}
        )

    def offer(self, name: tuple[str, str], offer: Offer) -> None:
        """Let green export a service to red."""
        ports = [ServicePort(f"http-{port}", port, "HTTP") for port in offer.ports]
        made = service(name[1], *ports, namespace=name[0])
        health = None if offer.ready is None else Health(offer.ready, 3)
        self.red.feed.put(msgspec.structs.replace(made, health=health))

    def withdraw(self, name: tuple[str, str]) -> None:
        """Let green export it no more."""
        self.red.feed.remove(offered_host(name))

    async def seen(self, *, is_served: bool) -> dict[str, Any]:
        """What can be seen of the plan from outside; with more of it while the peer is served."""
        services, slices = await self._objects()
        by_address = {each.spec.clusterIP: each.metadata.annotations[EXPORTED_NAME] for each in services}
        found = {
            "services": {(each.metadata.namespace, each.metadata.annotations[HOSTNAME]) for each in services},
            "names": await self._names(by_address),
            "ingress": self.ingress.exports(),
            "egress": set(self.egress.imports().values()),
            **await self._told(),
            "slices": {each.metadata.annotations[EXPORTED_NAME] for each in slices},
        }
        if is_served:
            found["slices"] = {each.metadata.annotations[EXPORTED_NAME]: _leads_to(each) for each in slices}
            found |= await self._statuses()
        return found

    async def comes_to(self, expected: dict[str, Any], *, is_served: bool, within_s: float) -> dict[str, Any]:
        """What is seen as soon as it is as expected, or else when the time is over."""
        until = asyncio.get_running_loop().time() + within_s
        while (seen := await self.seen(is_served=is_served)) != expected:
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(0.02)
        return seen

    async def gateway_ports(self) -> dict[tuple[str, int], int]:
        """By exported host name and port, the gateway port that stands for it."""
        _, slices = await self._objects()
        return {
            (each.metadata.annotations[EXPORTED_NAME], int(port)): number
            for each in slices
            for port, number in json.loads(each.metadata.annotations[GATEWAY_PORTS]).items()
        }

    async def _objects(self) -> tuple[list[Any], list[Any]]:
        api = self.red.client.api
        services = [each async for each in api.list(Service, namespace="*", labels=IMPORTS_LABEL)]
        slices = [each async for each in api.list(EndpointSlice, namespace="*", labels=SLICES_LABEL)]
        return services, slices

    async def _names(self, by_address: dict[str, str]) -> dict[str, str]:
        found = {}
        for name in ALL_NAMES:
            query = dns.message.make_query(name, "A")
            answer = await dns.asyncquery.udp(query, POD_IP, timeout=5, port=DNS_PORT)
            for each in answer.answer:
                found[name] = by_address.get(str(each[0]), "nobody")
        return found

    async def _told(self) -> dict[str, Any]:
        """What green is told, asked as the ingress gateway does."""
        url = f"https://{POD_IP}:{DISCOVERY_PORT}/v1/services/green-mesh"
        async with httpx2.AsyncClient(verify=self.red.calls(INGRESS), timeout=10, trust_env=False) as client:
            answer = await client.get(url, headers=self._forwarded)
        if answer.status_code != 200:
            return {"is served": False, "told": {}}
        listed = parse_service_list(answer.content).services
        return {
            "is served": True,
            "told": {each.hostname: tuple(port.port for port in each.service_ports) for each in listed},
        }

    async def _statuses(self) -> dict[str, Any]:
        exports, imports = await self._status(ExportedServiceSet), await self._status(ImportedServiceSet)
        exported = (exports.exported_services if exports else None) or ()
        imported = (imports.imported_services if imports else None) or ()
        return {
            "exportedServices": sorted(each.exported_name for each in exported),
            "importedServices": {each.exported_name: each.local_service.hostname for each in imported},
        }

    async def _status(self, kind: Any) -> Any:
        try:
            with translated("read a set"):
                return (await self.red.client.api.get(kind, "green-mesh", namespace=NAMESPACE)).status
        except NotFound:
            return None


def _leads_to(endpoint_slice: EndpointSlice) -> tuple[str, bool]:
    """Where a slice leads, and whether it is ready."""
    endpoints = endpoint_slice.endpoints or []
    addresses = [address for each in endpoints for address in each.addresses]
    ready = [each.conditions is not None and each.conditions.ready for each in endpoints]
    return ",".join(addresses), set(ready) == {True}
