"""The gRPC service around ``DeltaStream``: translation and transport only.

Source: ``envoy.service.discovery.v3.AggregatedDiscoveryService``. Who the client is comes from its certificate alone,
never from what the node says of itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

import grpc
import structlog
from envoy.service.discovery.v3 import discovery_pb2

from isthmus.news import News
from isthmus.xds.limits import LIMITS, StreamLimitError
from isthmus.xds.pushes import Nobody, PushClock, PushListener
from isthmus.xds.resource import DeltaRequest, DeltaResponse, Rejection
from isthmus.xds.stream import DeltaStream
from isthmus.xds.table import ResourceTable

log = structlog.get_logger(__name__)

AGGREGATED = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
MAX_REASON_LENGTH = 16 * 1024
"""Characters of a client's reason for a NACK that are looked at; one names all the resources that were refused."""
SECRETS = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"


class Clients(Protocol):
    """Knows which client may connect and what it may see. Owned by the server, implemented by its user."""

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        """The client's name for the log, and its resources.

        ``identities`` are the subject alternative names of its certificate, empty on a local socket: who it is.
        ``metadata`` are the texts of its node's metadata: what it says of itself, such as the address to listen on.

        Raises:
            PermissionError: nobody with these identities has resources here; the message says why.
        """

    def connected(self, client: str) -> None:
        """A stream of this client has begun."""

    def disconnected(self, client: str, stream: Hashable) -> None:
        """A stream of this client has ended, and listens to its table no longer; ``stream`` tells it from others."""

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        """The client refused resources on this stream, and keeps what it had."""

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None:
        """The client has taken what it was sent last of this type on this stream."""


class _StreamEndedError(Exception):
    """Private: the client has closed its half of the stream."""


class DeltaService:
    """Serves ``DeltaStream`` at the given gRPC methods; add ``handlers()`` to a ``grpc.aio`` server."""

    def __init__(
        self,
        clients: Clients,
        *,
        methods: Sequence[str] = (AGGREGATED,),
        order: Sequence[str] = (),
        pushes: PushListener | None = None,
    ) -> None:
        self._clients = clients
        self._pushes = pushes or Nobody()
        self._methods = frozenset(methods)
        self._order = order
        self._news: News[tuple[str, ...]] = News()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handler that recognises this service's methods."""
        return _Handlers(dict.fromkeys(self._methods, self._serve))

    async def _serve(self, requests: AsyncIterator[Any], context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        first = await anext(requests, None)
        if first is None:
            return
        identities = identities_of(context)
        try:
            client, table = self._clients.admit(identities, metadata_of(first))
        except PermissionError as error:
            if self._news.is_new(identities, str(error)):  # it comes again, every second or so
                log.info("xds client refused", reason=str(error))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        self._news.settled(identities)
        clock = PushClock(client, self._pushes)
        session = _Session(client, table, self._clients, clock, order=self._order)
        self._clients.connected(client)
        try:
            await session.run(first, requests, context)
        except* _StreamEndedError:
            pass
        except* StreamLimitError as group:
            log.warning("xds stream closed", client=client, reason=str(group.exceptions[0]))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(group.exceptions[0]))
        finally:
            self._clients.disconnected(client, session)


class _Session:
    """One stream while it lives: one reader, one writer, and the wake-up between them."""

    def __init__(
        self, client: str, table: ResourceTable, clients: Clients, clock: PushClock, *, order: Sequence[str]
    ) -> None:
        self._client = client
        self._clients = clients
        self._clock = clock
        self._stream = DeltaStream(table, order=order)
        self._table = table
        self._news = asyncio.Event()
        self._has_told = False

    async def run(
        self, first: Any, requests: AsyncIterator[Any], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> None:
        stop_listening = self._table.listen(self._changed)
        try:
            self._receive(first)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(requests), name=f"xds requests of {self._client}")
                tasks.create_task(self._write(context), name=f"xds responses to {self._client}")
        finally:
            stop_listening()

    def _changed(self, type_url: str, names: tuple[str, ...] | None) -> None:
        if self._stream.changed(type_url, names):
            self._wake()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for message in requests:
            self._receive(message)
        raise _StreamEndedError

    def _receive(self, message: Any) -> None:
        request = request_of(message)
        self._clock.received(request, _now())
        rejection = self._stream.receive(request)
        if rejection is not None:
            self._clients.rejected(self._client, self, rejection)
        elif request.nonce:
            self._clients.accepted(self._client, self, request.type_url)
        self._tell_forgotten()
        self._wake()

    def _tell_forgotten(self) -> None:
        """Say once that a client asks for more names than are kept; on a gateway, some peer makes them up."""
        if self._stream.forgotten and not self._has_told:
            self._has_told = True
            log.warning(
                "xds client asks for more names than are kept; those of which there is nothing are forgotten",
                client=self._client,
                names=LIMITS.names,
            )

    def _wake(self) -> None:
        self._clock.news(_now())
        self._news.set()

    async def _write(self, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            responses = self._stream.flush()
            self._clock.sent(responses, _now())
            for response in responses:
                await context.write(message_of(response))


class _Handlers(grpc.GenericRpcHandler):
    """Maps the full method names to one bidirectional handler."""

    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self._handlers = {
            method: grpc.stream_stream_rpc_method_handler(
                serve,
                request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
                response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
            )
            for method, serve in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handlers.get(handler_call_details.method)


def identities_of(context: "grpc.aio.ServicerContext[Any, Any]") -> tuple[str, ...]:
    """The URI subject alternative names that the client's certificate proves; empty without one."""
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return tuple(name.decode("utf-8", "replace") for name in names)


def metadata_of(message: Any) -> dict[str, str]:
    """The texts among the metadata of the node that sends this first request."""
    fields = message.node.metadata.fields.items()
    return {key: value.string_value for key, value in fields if value.HasField("string_value")}


def _now() -> float:
    return asyncio.get_running_loop().time()


def request_of(message: Any) -> DeltaRequest:
    """The protobuf request as a value."""
    reason = message.error_detail.message[:MAX_REASON_LENGTH]
    return DeltaRequest(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=reason or (message.HasField("error_detail") and "no reason given") or "",
    )


def message_of(response: DeltaResponse) -> Any:
    """The response as a protobuf message; bodies are wrapped into ``Any`` here."""
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=response.type_url, nonce=response.nonce, removed_resources=response.removed
    )
    for resource in response.resources:
        entry = message.resources.add(name=resource.name, version=resource.version)
        entry.resource.type_url = response.type_url
        entry.resource.value = resource.body
    return message
