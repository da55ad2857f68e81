"""Keeps a listening socket for each address of each Service that leads somewhere, and none for any other."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

import structlog
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import EventRecorder, Index, Informers, ObjectKey, ReconcileLoop, key_of
from isthmus.lab.proxy.forwarding import Backend, Forwards, Frontend, forwards, owner_of
from isthmus.lab.proxy.tcp import TcpForward
from isthmus.lab.proxy.udp import UdpForward
from isthmus.lab.zones import Zones

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Open:
    service: ObjectKey
    forward: TcpForward | UdpForward
    task: asyncio.Task[None]


class ServiceProxy:
    """The proxy of the node ``node``; ``node_address`` is where node ports listen."""

    def __init__(self, client: AsyncClient, informers: Informers, *, node: str, node_address: str) -> None:
        self._node = node
        self._node_address = node_address
        self._services = informers.of(Service)
        self._slices = informers.of(EndpointSlice)
        self._pieces = Index(self._slices, owner_of)
        self._events = EventRecorder(client, component="service-proxy")
        self._open: dict[Frontend, _Open] = {}
        self._frontends: defaultdict[ObjectKey, set[Frontend]] = defaultdict(set)
        self._loop = ReconcileLoop[ObjectKey]("service proxy", self._reconcile, workers=1)
        self._services.subscribe(lambda key, _old, _new: self._loop.add(key))
        self._slices.subscribe(self._slice_changed)
        self._zones = Zones(informers, changed=self._zone_changed)
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Forward until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._loop.run()

    def _slice_changed(self, _key: ObjectKey, *versions: EndpointSlice | None) -> None:
        for piece in versions:
            if piece is not None and (owner := owner_of(piece)) is not None:
                self._loop.add(owner)

    def _zone_changed(self, node: str) -> None:
        if node != self._node:
            return
        for service in self._services:
            self._loop.add(key_of(service))

    async def _reconcile(self, key: ObjectKey) -> None:
        service = self._services.get(key)
        wanted: Forwards = {}
        if service is not None:
            zone = self._zones.of(self._node)
            wanted = forwards(service, self._pieces.get(key), node_address=self._node_address, zone=zone)
        for frontend in [each for each in self._frontends.get(key, ()) if each not in wanted]:
            await self._close(frontend)
        for frontend, backends in wanted.items():
            if (opened := self._open.get(frontend)) is not None and opened.service == key:
                opened.forward.backends = backends
            elif service is not None:
                await self._listen(service, frontend, backends)

    async def _listen(self, service: Service, frontend: Frontend, backends: tuple[Backend, ...]) -> None:
        if self._group is None:
            raise RuntimeError("Opening a Service's address: the proxy does not run")
        forward = (UdpForward if frontend.protocol == "UDP" else TcpForward)(frontend, backends)
        try:
            forward.listen()
        except PermissionError:
            forward.close()
            message = (
                f"Listening on {frontend.address}:{frontend.port} is not allowed to this user (ports below "
                "net.ipv4.ip_unprivileged_port_start); use a higher port"
            )
            await self._events.record(service, reason="PortNotAllowed", message=message, warning=True)
        except OSError as error:
            forward.close()
            message = f"Listening on {frontend.address}:{frontend.port} failed: {error.strerror}"
            await self._events.record(service, reason="PortNotAvailable", message=message, warning=True)
            raise
        else:
            task = self._group.create_task(
                forward.run(self._group), name=f"{frontend.protocol} {frontend.address}:{frontend.port}"
            )
            self._open[frontend] = _Open(service=key_of(service), forward=forward, task=task)
            self._frontends[key_of(service)].add(frontend)

    async def _close(self, frontend: Frontend) -> None:
        """Stop listening, and wait until the address is free."""
        opened = self._open.pop(frontend)
        self._forget(opened.service, frontend)
        opened.task.cancel()
        await asyncio.wait([opened.task])
        opened.forward.close()

    def _forget(self, service: ObjectKey, frontend: Frontend) -> None:
        self._frontends[service].discard(frontend)
        if not self._frontends[service]:
            del self._frontends[service]
