"""The gRPC service ``envoy.service.accesslog.v3.AccessLogService``: who reports, and how fast we read.

A gateway is known by its certificate alone. Reading is paced: a gateway that is called wrongly ten thousand times a
second must not cost its control plane more than one that is called so twice; what Envoy cannot send meanwhile it drops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

import grpc
import structlog
from envoy.service.accesslog.v3 import als_pb2

from isthmus.reports.entries import GatewayReport, reports_of
from isthmus.xds.server import identities_of

log = structlog.get_logger(__name__)

METHOD: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
PAUSE_S: Final = 0.1
"""Between two messages of one stream: ten a second, of as many entries as are looked at."""


class Gateways(Protocol):
    """Knows who may report. Owned by the server, implemented by its user."""

    def name_of(self, identities: Sequence[str]) -> str:
        """The gateway that this certificate proves.

        Raises:
            PermissionError: it proves no gateway of this mesh.
        """


Reported = Callable[[str, GatewayReport], None]
"""Is told the gateway, and what it reports; must not block."""


class ReportService:
    """Takes the reports of all gateways; add ``handlers()`` to a ``grpc.aio`` server with mutual TLS."""

    def __init__(self, gateways: Gateways, reported: Reported, *, pause_s: float = PAUSE_S) -> None:
        self._gateways = gateways
        self._reported = reported
        self._pause_s = pause_s

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handler that recognises this service's method."""
        return _Handlers(self._take)

    async def _take(self, messages: AsyncIterator[Any], context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            gateway = self._gateways.name_of(identities_of(context))
        except PermissionError as error:
            log.info("reports refused", reason=str(error))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        name = ""
        async for message in messages:
            name = message.identifier.log_name or name  # it stands in the first message of a stream only
            for report in reports_of(message, name):
                self._reported(gateway, report)
            await asyncio.sleep(self._pause_s)
        return als_pb2.StreamAccessLogsResponse()


class _Handlers(grpc.GenericRpcHandler):
    """Maps the one method to its handler."""

    def __init__(self, take: Callable[..., Any]) -> None:
        self._handler = grpc.stream_unary_rpc_method_handler(
            take,
            request_deserializer=als_pb2.StreamAccessLogsMessage.FromString,
            response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handler if handler_call_details.method == METHOD else None
