"""Which statistics a gateway's Envoy keeps, and where they are read.

Source: Envoy ``envoy.config.metrics.v3.StatsConfig``. Names of clusters may hold dots, so the tags that tell them apart
are defined here: Envoy's own would end at the first dot. docs/observability.md describes what is told.
"""

from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from isthmus.envoy.message import packed, socket_address
from isthmus.gateway.settings import GatewaySettings


def listener(settings: GatewaySettings, admin_cluster: str) -> Any:
    """The one path of the admin interface that is shown to the pod's network: statistics, to be scraped."""
    route = {"match": {"path": "/stats/prometheus"}, "route": {"cluster": admin_cluster}}
    manager = http_connection_manager_pb2.HttpConnectionManager(
        stat_prefix="statistics",
        route_config={"virtual_hosts": [{"name": "statistics", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": packed(router_pb2.Router())}],
    )
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": packed(manager)}
    return listener_pb2.Listener(
        name="statistics",
        address=socket_address(settings.pod_ip, settings.stats_port),
        filter_chains=[{"filters": [http]}],
        # A gateway at its limit is just when its statistics are wanted.
        ignore_global_conn_limit=True,
    )


_OF_CLUSTERS = (
    "assignment_stale",
    "ssl\\.(handshake|connection_error|session_reused|fail_verify_.*)",
    "update_(success|failure|rejected)",
    "upstream_cx_(active|connect_fail|connect_timeout|connect_ms|total|rx_bytes_total|tx_bytes_total)",
    "upstream_rq_([1-5]xx|active|timeout|total|pending_overflow|time)",
)
_OTHERS = (
    *("cluster_manager", "control_plane", "dns", "http", "listener", "listener_manager"),
    *("on_demand", "overload", "rbac", "sds", "server", "tls_inspector"),
)
_KEPT = (
    rf"(?:{'|'.join(_OTHERS)})\..*",
    rf"cluster\..+\.(?:{'|'.join(_OF_CLUSTERS)})",
    r"inbound\|.+\.rbac\.(allowed|denied)",
    r"vhost\.discovery\.route\..+\.upstream_rq_([1-5]xx|timeout|total)",
    r"tcp\..+\.downstream_cx_(no_route|rx_bytes_total|total|tx_bytes_total)",
    r"tcp\..+\.on_demand_cluster_(missing|timeout)",
    r"cluster\.xds-grpc\.ssl\.certificate\..+\.expiration_unix_time_seconds",
)

# A name ends before the first part that is the name of a statistic.
_STATISTIC = (
    r"(?:internal\.|external\.)?"
    r"(?:assignment_|bind_|downstream_|membership_|on_demand_|rbac\.|ssl\.|update_|upstream_)"
)
_TAGS = {
    # ``outbound|green-mesh`` gives two: what kind of traffic, and with which peer.
    "cluster": rf"^cluster\.(([^|]+?)(?:\|.+?)?\.){_STATISTIC}",
    "peer": rf"^(?:cluster\.[^|]+\||tcp\.inbound\||inbound\||vhost\.discovery\.route\.)((.+?)\.){_STATISTIC}",
    "direction": rf"^tcp\.((inbound|imports)(?:\|.+?)?\.){_STATISTIC}",
    "listener": r"^listener\.((\[[^\]]*\]_\d+|[^_]+_\d+|[^.]+)\.)",
    "certificate": r"^cluster\.xds-grpc\.ssl\.certificate(\.(.+))\.expiration_unix_time_seconds$",
}
KEPT: dict[str, Any] = {
    "use_all_default_tags": {"value": False},
    "stats_tags": [
        *({"tag_name": name, "regex": regex} for name, regex in _TAGS.items()),
        {"tag_name": "envoy.http_conn_manager_prefix"},
        {"tag_name": "envoy.response_code_class"},
    ],
    "stats_matcher": {
        "inclusion_list": {
            # One expression: each is tried on all of the hundred and more statistics of each new cluster.
            "patterns": [{"safe_regex": {"regex": "|".join(_KEPT)}}]
        }
    },
}
"""Envoy keeps over a hundred statistics for each cluster; these are looked at.

All imports from one peer, and all exports to one, are counted under one name (``envoy.cluster.statistics_of``).
"""
