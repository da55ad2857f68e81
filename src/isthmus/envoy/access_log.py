"""What a gateway says of each request and connection: one line of JSON on standard output.

JSON because names in it come from the other mesh, and only an encoder keeps them from forging lines.
Source: Envoy access log operators.
"""

from typing import Any, Literal

from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from isthmus.envoy.message import packed, struct

Direction = Literal["inbound", "outbound"]

_CONNECTION = {
    "time": "%START_TIME%",
    "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "client": "%DOWNSTREAM_PEER_URI_SAN%",
    "server_name": "%REQUESTED_SERVER_NAME%",
    "upstream": "%UPSTREAM_HOST%",
    "server": "%UPSTREAM_PEER_URI_SAN%",
    "flags": "%RESPONSE_FLAGS%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "downstream_failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
}
_REQUEST = {
    "peer": "%METADATA(ROUTE:isthmus:peer)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
}


def connection_log(direction: Direction, peer: str, **facts: str | int) -> list[dict[str, Any]]:
    """A line for each connection that a filter chain of ``peer`` has handled; ``facts`` are constants to add to it."""
    return [_stdout({"kind": "connection", "direction": direction, "peer": peer, **facts, **_CONNECTION})]


def refused_log(direction: Direction) -> list[dict[str, Any]]:
    """A line for each connection that did not get through the TLS handshake."""
    entry = _stdout({"kind": "refused", "direction": direction, **_CONNECTION})
    failed = cel_pb2.ExpressionFilter(expression="has(connection.transport_failure_reason)")
    name = "envoy.access_loggers.extension_filters.cel"
    entry["filter"] = {"extension_filter": {"name": name, "typed_config": packed(failed)}}
    return [entry]


def request_log(direction: Direction) -> list[dict[str, Any]]:
    """A line for each discovery request; the peer is told by the route that it took."""
    return [_stdout({"kind": "discovery", "direction": direction, **_REQUEST, **_CONNECTION})]


def _stdout(fields: dict[str, Any]) -> dict[str, Any]:
    log = stream_pb2.StdoutAccessLog(log_format={"json_format": struct(fields), "omit_empty_values": True})
    return {"name": "envoy.access_loggers.stdout", "typed_config": packed(log)}
