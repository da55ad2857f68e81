"""What a gateway says of each request and connection: one line, of JSON unless the mesh wants text.

JSON because names in it come from the other mesh, and an encoder keeps them from forging lines; what keeps them from it
in text is ``access_format``'s. Source: Envoy access log operators.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from isthmus.api.logs import AccessLogFile
from isthmus.envoy.access_format import AccessFormat
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


def connection_log(to: AccessLogFile, direction: Direction, peer: str, **facts: str | int) -> list[dict[str, Any]]:
    """A line for each connection that a filter chain of ``peer`` has handled; ``facts`` are constants to add to it."""
    return _written(to, {"kind": "connection", "direction": direction, "peer": peer, **facts, **_CONNECTION})


def refused_log(to: AccessLogFile, direction: Direction) -> list[dict[str, Any]]:
    """A line for each connection that did not get through the TLS handshake."""
    failed = cel_pb2.ExpressionFilter(expression="has(connection.transport_failure_reason)")
    name = "envoy.access_loggers.extension_filters.cel"
    return [
        {**entry, "filter": {"extension_filter": {"name": name, "typed_config": packed(failed)}}}
        for entry in _written(to, {"kind": "refused", "direction": direction, **_CONNECTION})
    ]


def request_log(to: AccessLogFile, direction: Direction) -> list[dict[str, Any]]:
    """A line for each discovery request; the peer is told by the route that it took."""
    return _written(to, {"kind": "discovery", "direction": direction, **_REQUEST, **_CONNECTION})


def _written(to: AccessLogFile, fields: Mapping[str, str | int]) -> list[dict[str, Any]]:
    """The logger that writes these fields where and how the mesh wants it; none if it wants none."""
    if to.name == "/dev/null":
        return []
    stream, message = _STREAMS[to.name]
    log = message(log_format=_text(to.format, fields) if to.is_text else _json(fields))
    return [{"name": f"envoy.access_loggers.{stream}", "typed_config": packed(log)}]


_STREAMS: Final[Mapping[str, tuple[str, Any]]] = {
    "": ("stdout", stream_pb2.StdoutAccessLog),
    "/dev/stdout": ("stdout", stream_pb2.StdoutAccessLog),
    "/dev/stderr": ("stderr", stream_pb2.StderrAccessLog),
}


def _json(fields: Mapping[str, str | int]) -> dict[str, Any]:
    return {"json_format": struct(dict(fields)), "omit_empty_values": True}


def _text(pattern: str, fields: Mapping[str, str | int]) -> dict[str, Any]:
    facts = {name.upper(): str(fields[name]) for name in ("kind", "direction", "peer", "service") if name in fields}
    facts.setdefault("SERVICE", str(fields["server_name"]))
    return {"text_format_source": {"inline_string": AccessFormat.parse(pattern).line(facts)}}
