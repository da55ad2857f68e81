"""One mesh for the tests of discovery: a real CA, the SVIDs of its pods, and a peer as the server's port sees it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from tests.sockets import served_at
from tests.waiting import until

from isthmus.discovery import Caller, DiscoveryServer, ExportFeed, ForbiddenError, Route, Tally, UnknownPeerError
from isthmus.federation.messages import LinkView, ServiceMessage, ServicePort
from isthmus.federation.plan import Endpoint
from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain, X509Svid
from isthmus.mutual_tls import client_context, server_context

DOMAIN: Final = TrustDomain("red-mesh.local")
HOST: Final = "127.77.0.1"


def account(name: str) -> SpiffeId:
    return SpiffeId.service_account(DOMAIN, namespace="red-mesh-system", account=name)


PILOT: Final = account("istiod-red-mesh-service-account")
INGRESS: Final = account("ingress-green-mesh-service-account")
EGRESS: Final = account("egress-green-mesh-service-account")


def service(name: str, *, accounts: int = 1, port: int = 9080) -> ServiceMessage:
    return ServiceMessage(
        name=name,
        namespace="bookinfo",
        hostname=f"{name}.bookinfo.svc.green-mesh-exports.local",
        service_ports=(ServicePort("http", port, "HTTP"),),
        service_accounts=tuple(f"{INGRESS}-{number:04}" for number in range(accounts)),
    )


class Mesh:
    """A CA and what it issues."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.authority = Authority.self_signed(DOMAIN, now=self.now)
        self.bundle = TrustBundle.of(DOMAIN, self.authority.roots)

    def svid(self, identity: SpiffeId) -> X509Svid:
        return self.authority.issue_svid(identity, lifetime=timedelta(hours=1), now=self.now)

    def serves(self, identity: SpiffeId) -> ssl.SSLContext:
        return server_context(self.svid(identity), client_roots=self.bundle)

    def calls(self, identity: SpiffeId) -> ssl.SSLContext:
        return client_context(self.svid(identity), server_roots=self.bundle)

    def route(self, port: int, *, caller: SpiffeId = INGRESS, gateway: SpiffeId = EGRESS) -> Route:
        context = self.calls(caller)
        return Route(
            peer="green-mesh",
            authority="egress-green-mesh.red-mesh-system.svc.cluster.local:8188",
            discovery_name="discovery.red-mesh-system.svc.green-mesh.local",
            remote_checksum=7,
            version="v1",
            gateways=(gateway,),
            endpoints=lambda: [Endpoint(HOST, port)],
            context=lambda: context,
        )


@dataclass
class GreenLink:
    """What the pilot knows of peer green-mesh, whose calls come through our ingress gateway."""

    trust_bundle: TrustBundle
    feed: ExportFeed = field(default_factory=ExportFeed)
    told: list[tuple[str, str]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def view(self) -> LinkView:
        return LinkView(peer="green-mesh", sources=self.feed.sources, exports=len(self.feed))

    def remote_connected(self, source: str) -> None:
        self.told.append(("connected", source))

    def remote_got_event(self, source: str) -> None:
        self.told.append(("event", source))

    def remote_got_list(self, source: str) -> None:
        self.told.append(("list", source))

    def remote_disconnected(self, source: str) -> None:
        self.told.append(("disconnected", source))


@dataclass
class OnePeer:
    """An exporter that knows green-mesh and nobody else."""

    green: GreenLink

    def link(self, peer: str, caller: Caller) -> GreenLink:
        if peer != "green-mesh":
            raise UnknownPeerError(f"no peer {peer!r} here")
        if caller.gateway != INGRESS:
            raise ForbiddenError(f"{caller.gateway} may not speak for {peer}")
        return self.green


def behind_gateways(app: ASGIApp) -> ASGIApp:
    """What the two gateways do to a path on its way: the name that the exporter gives the caller is added."""

    async def rewritten(scope: Scope, receive: Receive, send: Send) -> None:
        path = f"{scope['path'].removesuffix('/')}/green-mesh"
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    return rewritten


@asynccontextmanager
async def running(app: ASGIApp, context: ssl.SSLContext) -> AsyncIterator[tuple[DiscoveryServer, int]]:
    """The server, listening, and its port."""
    server = DiscoveryServer(app, context, host=HOST, port=0)
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.run(started))
        yield server, (port := await started)
        serving.cancel()
    await all_closed(port)


@asynccontextmanager
async def in_background(work: Coroutine[object, object, object]) -> AsyncIterator[asyncio.Task[object]]:
    """Do something beside the test, and cancel it at the end."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        yield task
        task.cancel()


async def all_closed(port: int, *, host: str = HOST) -> None:
    """Wait until what was taken at this port is closed, also where the handshake was not over.

    Before Python 3.12, no server waits for those; their transports would outlive the test's loop.
    """
    await until(lambda: not served_at(host, port))
