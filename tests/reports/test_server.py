"""The access log service over a real socket: who may report, and that the name of a log holds for its stream."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from envoy.service.accesslog.v3 import als_pb2

from isthmus.reports import GatewayReport, ReportService
from isthmus.reports.server import METHOD

REFUSED = {"log_entry": [{"common_properties": {"downstream_transport_failure_reason": "no certificate"}}]}


class Known:
    """Knows everyone, or nobody."""

    def __init__(self, name: str) -> None:
        self.name = name

    def name_of(self, identities: Sequence[str]) -> str:
        """The one gateway."""
        if not self.name:
            raise PermissionError("nobody here has that identity")
        return self.name


@asynccontextmanager
async def reporting(
    folder: Path, gateway: str
) -> AsyncIterator[tuple[grpc.aio.Channel, list[tuple[str, GatewayReport]]]]:
    """The service, who talks to it, and what was reported."""
    told: list[tuple[str, GatewayReport]] = []
    server = grpc.aio.server()
    service = ReportService(Known(gateway), lambda name, report: told.append((name, report)), pause_s=0)
    server.add_generic_rpc_handlers([service.handlers()])
    address = f"unix:{folder / 'reports.sock'}"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel, told
    await server.stop(0)


async def send(channel: grpc.aio.Channel, messages: Sequence[als_pb2.StreamAccessLogsMessage]) -> None:
    """One stream of these messages, to its end."""
    call = channel.stream_unary(
        METHOD,
        request_serializer=als_pb2.StreamAccessLogsMessage.SerializeToString,
        response_deserializer=als_pb2.StreamAccessLogsResponse.FromString,
    )

    def requests() -> Iterator[als_pb2.StreamAccessLogsMessage]:
        yield from messages

    await call(requests(), timeout=10)


async def test_a_log_is_named_once_for_its_stream(tmp_path: Path) -> None:
    """Envoy names the log in its first message only; reports of later ones are of that log too."""
    async with reporting(tmp_path, "ingress-green-mesh") as (channel, told):
        first = als_pb2.StreamAccessLogsMessage(identifier={"log_name": "refused"}, tcp_logs=REFUSED)
        await send(channel, [first, als_pb2.StreamAccessLogsMessage(tcp_logs=REFUSED)])
    expected = GatewayReport(log="refused", failure="no certificate")
    assert told == [("ingress-green-mesh", expected)] * 2


async def test_who_is_no_gateway_may_not_report(tmp_path: Path) -> None:
    """A workload of the mesh cannot make up refused callers."""
    async with reporting(tmp_path, "") as (channel, told):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await send(channel, [als_pb2.StreamAccessLogsMessage(tcp_logs=REFUSED)])
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert told == []
