"""The one way into an ingress gateway without a certificate: enrolment, while somebody is invited.

A filter chain of the discovery listener that is chosen by server name alone. It asks for no client certificate, since
nobody here could vouch for a joiner yet; what a joiner sends is proved by the invitation's secret, which the control
plane checks. So nothing passes but one path with one method, small, seldom and soon over. Source: docs/protocol.md §5.
"""

from typing import Any, Final

from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2

from isthmus.api.logs import AccessLogFile
from isthmus.envoy import tls
from isthmus.envoy.access_log import request_log
from isthmus.envoy.cluster import PILOT
from isthmus.envoy.http import exact_header, http_filter
from isthmus.envoy.message import packed, seconds
from isthmus.federation.enrolment import MAX_BODY_BYTES, PATH

NAME: Final = "enrolment"
MAX_CONNECTIONS: Final = 16
BURST: Final = 20
PER_SECOND: Final = 5
"""Requests of all callers together, for each gateway pod; a join takes two or three."""

_HANDSHAKE_TIMEOUT = seconds(5)
_REQUEST_TIMEOUT = seconds(10)
_ALL = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def chain(server_name: str, access_log: AccessLogFile) -> dict[str, Any]:
    """The filter chain for connections that ask for ``server_name``, each told to ``access_log``."""
    limit = connection_limit_pb2.ConnectionLimit(stat_prefix=NAME, max_connections={"value": MAX_CONNECTIONS})
    return {
        "name": NAME,
        "filter_chain_match": {"server_names": [server_name], "transport_protocol": "tls"},
        "transport_socket": tls.downstream_of_anyone(alpn=["http/1.1"]),
        "transport_socket_connect_timeout": _HANDSHAKE_TIMEOUT,
        "filters": [
            {"name": "envoy.filters.network.connection_limit", "typed_config": packed(limit)},
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": packed(_manager(access_log))},
        ],
    }


def _manager(access_log: AccessLogFile) -> Any:
    """Short of everything; nothing that a caller says of itself goes on to the control plane."""
    return manager_pb2.HttpConnectionManager(
        stat_prefix=NAME,
        codec_type=manager_pb2.HttpConnectionManager.HTTP1,
        route_config={
            "name": NAME,
            "virtual_hosts": [{"name": NAME, "domains": ["*"], "routes": [_route()]}],
            "validate_clusters": {"value": False},
            "request_headers_to_add": [_SOURCE],
        },
        http_filters=[
            http_filter("local_ratelimit", _rate_limit()),
            http_filter("buffer", buffer_pb2.Buffer(max_request_bytes={"value": MAX_BODY_BYTES})),
            http_filter("router", router_pb2.Router()),
        ],
        use_remote_address={"value": True},
        skip_xff_append=True,
        forward_client_cert_details=manager_pb2.HttpConnectionManager.SANITIZE,
        max_request_headers_kb={"value": 8},
        request_headers_timeout=_HANDSHAKE_TIMEOUT,
        request_timeout=_REQUEST_TIMEOUT,
        stream_idle_timeout=_REQUEST_TIMEOUT,
        common_http_protocol_options={
            "idle_timeout": _REQUEST_TIMEOUT,
            "max_connection_duration": seconds(30),
            "max_headers_count": {"value": 32},
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        access_log=request_log(access_log, "inbound"),
    )


def _route() -> dict[str, Any]:
    return {
        "match": {"path": PATH, "case_sensitive": {"value": True}, "headers": [exact_header(":method", "POST")]},
        "route": {"cluster": PILOT, "timeout": _REQUEST_TIMEOUT},
    }


def _rate_limit() -> Any:
    return local_rate_limit_pb2.LocalRateLimit(
        stat_prefix=NAME,
        token_bucket={
            "max_tokens": BURST,
            "tokens_per_fill": {"value": PER_SECOND},
            "fill_interval": seconds(1),
        },
        filter_enabled=_ALL,
        filter_enforced=_ALL,
    )


_SOURCE = {
    "header": {"key": "x-forwarded-for", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
