"""What carries the bytes of services: connections that may be silent for as long as their owners like.

Source: Envoy ``envoy.extensions.filters.network.tcp_proxy.v3``; tcp(7), ``SO_KEEPALIVE``.
"""

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3 import socket_option_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from isthmus.envoy.message import ON_DEMAND, seconds

_SOL_SOCKET, _SO_KEEPALIVE = 1, 9
_IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 6, 4, 5, 6

KEEPALIVE = [
    {"level": level, "name": name, "int_value": value, "state": socket_option_pb2.SocketOption.STATE_PREBIND}
    for level, name, value in (
        (_SOL_SOCKET, _SO_KEEPALIVE, 1),
        (_IPPROTO_TCP, _TCP_KEEPIDLE, 15),
        (_IPPROTO_TCP, _TCP_KEEPINTVL, 5),
        (_IPPROTO_TCP, _TCP_KEEPCNT, 3),
    )
]
"""``socket_options`` of a listener, by Linux's numbers, which accepted connections inherit: a client that has vanished
is noticed after 30 s, as vanished upstreams are (``cluster``)."""


BEFORE_NEXT_ADDRESS = {"base_interval": seconds(0.025), "max_interval": seconds(0.1)}
"""Long enough for an address that has failed to be left out, lest the same ones be tried again and again."""


def on_demand_proxy(
    *, stat_prefix: str, cluster: str, access_log: Sequence[dict[str, Any]] = (), connect_attempts: int = 1
) -> Any:
    """A ``TcpProxy`` whose cluster is made when it is first called; connecting is tried that often, each at the next
    endpoint.

    No idle time-out: a database connection may be silent for days, and Envoy would cut it after an hour. That its ends
    are still there is for keepalive to tell, on both sides.
    """
    return tcp_proxy_pb2.TcpProxy(
        stat_prefix=stat_prefix,
        cluster=cluster,
        on_demand=ON_DEMAND,
        idle_timeout=seconds(0),
        access_log=access_log,
        max_connect_attempts=None if connect_attempts == 1 else {"value": connect_attempts},
        backoff_options=None if connect_attempts == 1 else BEFORE_NEXT_ADDRESS,
    )


def cluster_named(pattern: str) -> Any:
    """A filter before the proxy that names its cluster after the connection, by Envoy's access log operators."""
    value = {
        "object_key": "envoy.tcp_proxy.cluster",
        "format_string": {"text_format_source": {"inline_string": pattern}},
    }
    return set_filter_state_pb2.Config(on_new_connection=[value])
