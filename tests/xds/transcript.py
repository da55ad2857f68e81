"""The other end of an incremental stream as a transcript: request, expect, expect_nothing, ack, nack; over real TLS."""

from collections.abc import AsyncIterator, Hashable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from isthmus.ca import server_credentials
from isthmus.identity import Authority, SpiffeId, TrustDomain
from isthmus.xds import AGGREGATED, MAX_REQUEST_BYTES, DeltaService, Rejection, Resource, ResourceTable

CLUSTER = "type.example/Cluster"
LISTENER = "type.example/Listener"
FENCE = "type.example/Fence"
DOMAIN = TrustDomain("red-mesh.local")
SERVER_NAME = "istiod-red-mesh.red-mesh-system.svc"
PATIENCE_S = 10.0


def account(name: str) -> SpiffeId:
    """The identity of a gateway of the mesh."""
    return SpiffeId.service_account(DOMAIN, namespace="red-mesh-system", account=name)


@dataclass
class Admitted:
    """The ``Clients`` of a server: a table for each identity, and what was told of the clients."""

    tables: dict[str, ResourceTable] = field(default_factory=dict)
    metadata: list[dict[str, str]] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    unsettled: set[Hashable] = field(default_factory=set)
    """Streams on which the last answer of the client was a NACK."""

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        """Admit whoever has a table."""
        self.metadata.append(dict(metadata))
        for identity in identities:
            if identity in self.tables:
                return identity, self.tables[identity]
        raise PermissionError(f"nobody knows {', '.join(identities) or '(none)'}")

    def connected(self, client: str) -> None:
        """Remember it."""
        self.streams.append(client)

    def disconnected(self, client: str, stream: Hashable) -> None:
        """Remember it."""
        self.streams.remove(client)
        self.ended.append(client)
        self.unsettled.discard(stream)

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None:
        """Remember it."""
        self.unsettled.discard(stream)

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        """Remember it."""
        self.rejections.append(rejection)
        self.unsettled.add(stream)

    def table(self, identity: SpiffeId) -> ResourceTable:
        """The table of a client, which is admitted from now on."""
        table = self.tables.setdefault(str(identity), ResourceTable())
        table.put(FENCE, Resource("fence", "1", b""))
        return table


@dataclass
class Server:
    """A running service, and the CA under whose certificates it serves."""

    authority: Authority
    clients: Admitted
    port: int

    @asynccontextmanager
    async def stream(
        self, identity: SpiffeId | None, *, authority: Authority | None = None, method: str = AGGREGATED
    ) -> AsyncIterator["Transcript"]:
        """A stream of a client with this identity (None: without a certificate), vouched for by ``authority``."""
        credentials = _client_credentials(self.authority, identity, issuer=authority or self.authority)
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options) as channel:
            call = channel.stream_stream(
                method,
                request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
            )(timeout=PATIENCE_S)
            yield Transcript(call)
            call.cancel()


class Transcript:
    """One stream, seen from the client."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def request(
        self,
        type_url: str = CLUSTER,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        versions: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request."""
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=list(subscribe),
            resource_names_unsubscribe=list(unsubscribe),
            initial_resource_versions=dict(versions or {}),
        )
        message.node.metadata.update(dict(metadata or {}))
        await self._call.write(message)

    async def expect(
        self, resources: Mapping[str, str] | None = None, *, removed: Iterable[str] = (), type_url: str = CLUSTER
    ) -> Any:
        """The next response has just these resources, by name and version, and removes just these names."""
        response = await self._read()
        got = {each.name: each.version for each in response.resources}
        assert (response.type_url, got, list(response.removed_resources)) == (type_url, resources or {}, list(removed))
        return response

    async def expect_nothing(self) -> None:
        """No response is on its way.

        Shown without waiting: what the server has to say comes before the answers to two more questions. It takes two,
        since removals follow the updates that were found together with them.
        """
        for _ in range(2):
            await self.request(FENCE, subscribe=["fence"])
            await self.ack(await self.expect({"fence": "1"}, type_url=FENCE))

    async def ack(self, response: Any) -> None:
        """Say that the response is in use."""
        await self._call.write(
            discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        )

    async def nack(self, response: Any, reason: str) -> None:
        """Say that the response cannot be used."""
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        message.error_detail.code, message.error_detail.message = 3, reason
        await self._call.write(message)

    async def finish(self) -> None:
        """Have nothing more to say."""
        await self._call.done_writing()

    async def expect_end(self) -> tuple[grpc.StatusCode, str]:
        """Status and details of a stream that the server has ended."""
        return await self._call.code(), await self._call.details() or ""

    async def _read(self) -> Any:
        response = await self._call.read()
        assert response is not grpc.aio.EOF, await self.expect_end()
        return response


@asynccontextmanager
async def serving(clients: Admitted) -> AsyncIterator[Server]:
    """The service over mutual TLS, for the block."""
    authority = Authority.self_signed(DOMAIN, now=datetime.now(UTC))
    served = authority.issue_svid(
        account("istiod-red-mesh"), lifetime=timedelta(hours=1), now=datetime.now(UTC), dns_names=[SERVER_NAME]
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_REQUEST_BYTES)])
    server.add_generic_rpc_handlers([DeltaService(clients, order=(CLUSTER, LISTENER)).handlers()])
    credentials = server_credentials(lambda: served, client_roots=lambda: authority.root_cert_pem)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield Server(authority, clients, port)
    finally:
        await server.stop(0)


def _client_credentials(
    authority: Authority, identity: SpiffeId | None, *, issuer: Authority
) -> grpc.ChannelCredentials:
    if identity is None:
        return grpc.ssl_channel_credentials(authority.root_cert_pem)
    svid = issuer.issue_svid(identity, lifetime=timedelta(hours=1), now=datetime.now(UTC))
    return grpc.ssl_channel_credentials(authority.root_cert_pem, svid.key_pem, svid.chain_pem)
