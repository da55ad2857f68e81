"""Which statistics a gateway's Envoy keeps, and where they are read.

Source: Envoy ``envoy.config.metrics.v3.StatsConfig``. Names of clusters hold dots, so the tag that tells clusters apart
is defined here: Envoy's own would end at the first dot.
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


_CLUSTER_STATISTICS = (
    "assignment_stale",
    "membership_(healthy|total)",
    "ssl\\.(handshake|connection_error|session_reused|fail_verify_.*)",
    "update_(success|failure|rejected)",
    "upstream_cx_(active|connect_fail|connect_timeout|connect_ms|total|rx_bytes_total|tx_bytes_total)",
    "upstream_rq_([1-5]xx|active|timeout|total|pending_overflow|time)",
)
_OTHER_STATISTICS = (
    "cluster_manager.",
    "control_plane.",
    "dns.",
    "http.",
    "listener.",
    "listener_manager.",
    "on_demand.",
    "overload.",
    "rbac.",
    "sds.",
    "server.",
    "tcp.",
    "tls_inspector.",
)
# The name ends before the first part that is the name of a statistic.
_CLUSTER_TAG = (
    r"^cluster\.((.+?)\.)(?:internal\.|external\.)?"
    r"(?:assignment_|bind_|membership_|ssl\.|update_|upstream_cx_|upstream_rq_)"
)
# Envoy keeps over a hundred statistics for each cluster; these are looked at. A cluster's name may hold dots.
KEPT: dict[str, Any] = {
    "use_all_default_tags": {"value": False},
    "stats_tags": [
        {"tag_name": "cluster", "regex": _CLUSTER_TAG},
        {"tag_name": "listener", "regex": r"^listener\.((\[[^\]]*\]_\d+|[^_]+_\d+|[^.]+)\.)"},
        {"tag_name": "envoy.http_conn_manager_prefix"},
        {"tag_name": "envoy.tcp_prefix"},
        {"tag_name": "envoy.response_code_class"},
    ],
    "stats_matcher": {
        "inclusion_list": {
            "patterns": [
                *({"prefix": prefix} for prefix in _OTHER_STATISTICS),
                *({"safe_regex": {"regex": rf"cluster\..+\.{suffix}"}} for suffix in _CLUSTER_STATISTICS),
            ]
        }
    },
}
