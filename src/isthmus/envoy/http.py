"""The HTTP part of discovery: connection manager and routes, for both gateways."""

from typing import Any

from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2

from isthmus.api.logs import AccessLogFile
from isthmus.envoy import failure_log
from isthmus.envoy.access_log import Direction, request_log
from isthmus.envoy.message import ADS, packed, seconds, struct
from isthmus.federation.names import VERSION_HEADER
from isthmus.identity import SpiffeId

DELAYED_CLOSE: dict[Direction, dict[str, int]] = {"outbound": seconds(5), "inbound": seconds(1)}
"""How long a caller may take no byte of an answer that is on its way to it, and how long Envoy waits for one to hang
up. After Envoy's own second a control plane that is busy, as at its start with ten thousand imports, would lose the end
of a long list; those who call from other meshes are Envoys, and never busy so long."""
FORWARDED_CERTIFICATE = "x-forwarded-client-cert"
_FORWARDED_FOR = {
    "header": {"key": "x-forwarded-for", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
    "append_action": "APPEND_IF_EXISTS_OR_ADD",
}
"""Envoy's own way writes the host's address instead of one out of 127.0.0.0/8, which is where a lab's pods are."""


def connection_manager(
    name: str,
    *,
    direction: Direction,
    filters: list[dict[str, Any]],
    access_log: AccessLogFile,
    idle_s: float = 3600,
) -> Any:
    """An HTTP connection manager for discovery, whose routes are a resource of that name (``route_configuration``).

    Routes come and go with peers, and the streams of other peers must not notice. ``idle_s``: a connection without a
    request is closed after that long.

    It writes ``x-forwarded-client-cert`` from the client's certificate and never believes one that came in. Streams may
    be silent for long (a peer without heartbeat): time-outs are the routes' and TCP's.
    """
    return manager_pb2.HttpConnectionManager(
        stat_prefix=name,
        codec_type=manager_pb2.HttpConnectionManager.AUTO,
        rds={"config_source": ADS, "route_config_name": name},
        http_filters=[*filters, http_filter("router", router_pb2.Router())],
        use_remote_address={"value": True},
        skip_xff_append=True,
        forward_client_cert_details=manager_pb2.HttpConnectionManager.SANITIZE_SET,
        set_current_client_cert_details={"uri": True},
        server_header_transformation=manager_pb2.HttpConnectionManager.PASS_THROUGH,
        stream_idle_timeout=seconds(0),
        delayed_close_timeout=DELAYED_CLOSE[direction],
        # What an idle connection waits for after its time; only HTTP/2 has something to say in it.
        drain_timeout=seconds(0.1),
        request_headers_timeout=seconds(10),
        normalize_path={"value": True},
        common_http_protocol_options={
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": seconds(idle_s),
        },
        access_log=[*request_log(access_log, direction), *failure_log.requests()],
    )


def route_configuration(name: str, routes: list[dict[str, Any]], *, of_host: dict[str, Any] | None = None) -> Any:
    """The routes of a connection manager, as a resource of its own; ``of_host`` configures filters for all of them."""
    host = {"name": name, "domains": ["*"], "routes": routes, "typed_per_filter_config": of_host or {}}
    return route_pb2.RouteConfiguration(
        name=name,
        virtual_hosts=[host],
        validate_clusters={"value": False},
        request_headers_to_add=[_FORWARDED_FOR],
    )


def discovery_route(
    *, path: str, peer: str, cluster: str, rewrite_path: str = "", client: SpiffeId | None = None, **match: Any
) -> dict[str, Any]:
    """One exact path of discovery to a cluster; a watch may last for ever, everything else a minute."""
    headers = list(match.pop("headers", ()))
    if client is not None:
        headers.append(_from_client(client))
    action: dict[str, Any] = {
        "cluster": cluster,
        "timeout": seconds(0 if path.startswith("/v1/watch") else 60),
        **match,
    }
    if rewrite_path:
        action["regex_rewrite"] = {"pattern": {"regex": ".*"}, "substitution": rewrite_path}
    return {
        "match": {"path": path, "headers": headers},
        "route": action,
        "stat_prefix": peer,
        "request_headers_to_remove": [VERSION_HEADER],
        "metadata": {"filter_metadata": {"isthmus": struct({"peer": peer})}},
    }


def exact_header(name: str, value: str) -> dict[str, Any]:
    """A header that must have just this value."""
    return {"name": name, "string_match": {"exact": value}}


def http_filter(name: str, config: Any) -> dict[str, Any]:
    """An entry of ``http_filters``."""
    return {"name": f"envoy.filters.http.{name}", "typed_config": packed(config)}


def _from_client(client: SpiffeId) -> dict[str, Any]:
    """Matches what the connection manager itself has written of the client's certificate."""
    escaped = str(client).replace(".", r"\.")
    pattern = rf"(?:[^,]*;)?URI={escaped}(?:;[^,]*)?"
    return {"name": FORWARDED_CERTIFICATE, "string_match": {"safe_regex": {"regex": pattern}}}
