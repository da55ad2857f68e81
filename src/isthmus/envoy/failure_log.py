"""What a gateway tells its control plane of calls that fail: Envoy's access log service, over the cluster of ADS.

Failures only: what succeeds is for statistics and for the access log. Who takes the entries may read them slowly; Envoy
then drops what it cannot send. Source: Envoy ``envoy.extensions.access_loggers.grpc.v3``, "gRPC access logs".
"""

from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import grpc_service_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from google.protobuf.message import Message

from isthmus.envoy.message import packed, seconds

CONTROL_PLANE_CLUSTER: Final = "xds-grpc"
"""The static cluster by which a gateway reaches its control plane: for configuration, and for this."""
REFUSED: Final = "refused"
"""Name of the log of connections that did not get through the TLS handshake."""
DISCOVERY: Final = "discovery"
"""Name of the log of discovery requests that were not answered with success."""
CALLS: Final = "calls"
"""Name of the log of calls to imports that did not reach the peer."""
PEER_TAG: Final = "peer"
_FLUSHED_EVERY: Final = seconds(0.2)


def refused() -> list[dict[str, Any]]:
    """An entry for each connection to a listener that did not get through the TLS handshake."""
    failed = cel_pb2.ExpressionFilter(expression="has(connection.transport_failure_reason)")
    name = "envoy.access_loggers.extension_filters.cel"
    entry = _logger("tcp_grpc", als_pb2.TcpGrpcAccessLogConfig(common_config=_common(REFUSED)))
    return [{**entry, "filter": {"extension_filter": {"name": name, "typed_config": packed(failed)}}}]


def requests() -> list[dict[str, Any]]:
    """An entry for each discovery request with a status from 400 on, with the peer that its route is for."""
    common = _common(DISCOVERY, custom_tags=[_peer_tag("route", "isthmus")])
    entry = _logger("http_grpc", als_pb2.HttpGrpcAccessLogConfig(common_config=common))
    from_400 = {"op": accesslog_pb2.ComparisonFilter.GE, "value": {"default_value": 400, "runtime_key": "unused"}}
    return [{**entry, "filter": {"status_code_filter": {"comparison": from_400}}}]


def calls(metadata_namespace: str) -> list[dict[str, Any]]:
    """An entry for each call to an import that did not reach the peer, with the peer that its cluster is for."""
    common = _common(CALLS, custom_tags=[_peer_tag("cluster", metadata_namespace)])
    entry = _logger("tcp_grpc", als_pb2.TcpGrpcAccessLogConfig(common_config=common))
    return [{**entry, "filter": {"response_flag_filter": {"flags": ["UF"]}}}]


def _peer_tag(kind: str, namespace: str) -> dict[str, Any]:
    """The peer, as the metadata of a route or of a cluster has it."""
    metadata = {"kind": {kind: {}}, "metadata_key": {"key": namespace, "path": [{"key": "peer"}]}}
    return {"tag": PEER_TAG, "metadata": metadata}


def _common(log_name: str, **more: Any) -> als_pb2.CommonGrpcAccessLogConfig:
    return als_pb2.CommonGrpcAccessLogConfig(
        log_name=log_name,
        grpc_service=grpc_service_pb2.GrpcService(envoy_grpc={"cluster_name": CONTROL_PLANE_CLUSTER}),
        transport_api_version="V3",
        buffer_flush_interval=_FLUSHED_EVERY,
        **more,
    )


def _logger(name: str, config: Message) -> dict[str, Any]:
    return {"name": f"envoy.access_loggers.{name}", "typed_config": packed(config)}
