"""Serve: what one control-plane pod listens with, on its own address. Only wiring; what is served is others'.

Discovery for peers, names for workloads, certificates for whoever has a token, configuration and reports for gateways.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from isthmus.ca import CertificateService, server_credentials
from isthmus.discovery import DiscoveryServer, discovery_app
from isthmus.envoy.message import ORDER
from isthmus.identity import Authority
from isthmus.kube import Client
from isthmus.pilot import settings as ports
from isthmus.pilot.enrolment import Enrolments
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.names_server import ImportNames, NamesServer
from isthmus.pilot.peers import Peers
from isthmus.pilot.settings import Settings
from isthmus.pilot.tls import OwnTls
from isthmus.pilot.tokens import TokenReviews
from isthmus.pilot.trust import OwnIdentity
from isthmus.reports import ReportService
from isthmus.reports.server import Reported
from isthmus.xds import MAX_REQUEST_BYTES, DeltaService
from isthmus.xds.pushes import PushListener

ALONE: Final = (("grpc.so_reuseport", 0),)
"""A port is ours alone: by default gRPC shares it with any process of the same user that asks for it."""
ROOMY: Final = (("grpc.max_receive_message_length", MAX_REQUEST_BYTES),)
"""For gateways, which name all that they have in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served, and as whom."""

    client: Client
    authority: Authority
    settings: Settings
    identity: OwnIdentity
    tls: OwnTls
    peers: Peers
    enrolments: Enrolments
    gateways: Gateways
    names: ImportNames
    pushes: PushListener
    reported: Reported


async def start_servers(served: Served, tasks: asyncio.TaskGroup) -> None:
    """Start all servers as tasks of the group; they listen when this returns. Raises OSError: a port is taken."""
    await _start_discovery(served, tasks)
    await _start_names(served, tasks)
    roots = served.authority.root_cert_pem
    await _start_grpc(served, tasks, port=ports.CA_PORT, handlers=[_issuing(served).handlers()], client_roots=None)
    handlers = [
        DeltaService(served.gateways, order=ORDER, pushes=served.pushes).handlers(),
        ReportService(served.gateways, served.reported).handlers(),
    ]
    await _start_grpc(served, tasks, port=ports.XDS_PORT, handlers=handlers, client_roots=roots, options=ROOMY)


async def _start_discovery(served: Served, tasks: asyncio.TaskGroup) -> None:
    app = discovery_app(served.peers, enroller=served.enrolments)
    server = DiscoveryServer(app, served.tls.server(), host=served.settings.pod_ip, port=ports.DISCOVERY_PORT)
    served.identity.subscribe(lambda _: server.replace_context(served.tls.server()))
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    tasks.create_task(server.run(listening), name="discovery server")
    await listening


async def _start_names(served: Served, tasks: asyncio.TaskGroup) -> None:
    names = NamesServer(served.names, host=served.settings.pod_ip, port=ports.DNS_PORT)
    answering: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks.create_task(names.run(answering), name="names server")
    await answering


def _issuing(served: Served) -> CertificateService:
    """Certificates for any workload with a token."""
    return CertificateService(
        lambda: served.authority,
        TokenReviews(served.client),
        trust_domain=served.settings.trust_domain,
        lifetime=served.settings.certificate_lifetime,
    )


async def _start_grpc(
    served: Served,
    tasks: asyncio.TaskGroup,
    *,
    port: int,
    handlers: Sequence[grpc.GenericRpcHandler],
    client_roots: bytes | None,
    options: Sequence[tuple[str, int]] = (),
) -> None:
    """One gRPC server; with ``client_roots`` for clients with a certificate under them only."""
    current = served.identity.current
    credentials = (
        server_credentials(current)
        if client_roots is None
        else server_credentials(current, client_roots=lambda: client_roots)
    )
    server = grpc.aio.server(options=(*ALONE, *options))
    server.add_generic_rpc_handlers(handlers)
    _listen(server, f"{served.settings.pod_ip}:{port}", credentials)
    await server.start()
    tasks.create_task(_until_cancelled(server), name=f"gRPC on {port}")


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:  # all that gRPC says is that it failed
        raise OSError(f"Listening on {address} failed: is the port taken?") from error


async def _until_cancelled(server: grpc.aio.Server) -> None:
    try:
        # Not wait_for_termination: once that was cancelled, stop() leaves the streams open.
        await asyncio.Event().wait()
    finally:
        await server.stop(0)
