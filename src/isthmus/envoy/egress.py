"""The listeners of an egress gateway: what leaves the mesh.

8188 takes discovery calls from our own pilot only; each imported port has a listener of its own, which local clients
call in plain text as they would call any Service. Source: docs/protocol.md §1 and §3.
"""

from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2

from isthmus.envoy import tls
from isthmus.envoy.access_log import connection_log, refused_log
from isthmus.envoy.cluster import discovery_cluster_name, import_cluster_name
from isthmus.envoy.http import connection_manager, discovery_route, exact_header, http_filter
from isthmus.envoy.ingress import HANDSHAKE_TIMEOUT, TLS_INSPECTOR, admit_only
from isthmus.envoy.message import packed, socket_address
from isthmus.envoy.tcp import KEEPALIVE, on_demand_proxy
from isthmus.federation.names import VERSION_HEADER
from isthmus.federation.plan import DISCOVERY_PORT, EgressPlan, ImportedPort, RemotePeer


def listeners(plan: EgressPlan, bind_address: str) -> list[Any]:
    """All listeners of this gateway."""
    imports = [imported(port, bind_address) for _, port in sorted(plan.imports.items())]
    return [discovery(plan, bind_address), *imports]


def imported(port: ImportedPort, bind_address: str) -> Any:
    """The listener of one imported port. Its cluster is made when it is first called."""
    proxy = on_demand_proxy(
        stat_prefix="imports",
        cluster=import_cluster_name(port.gateway_port),
        access_log=connection_log("outbound", port.peer, service=port.hostname, port=port.service_port),
    )
    return listener_pb2.Listener(
        name=import_cluster_name(port.gateway_port),
        address=socket_address(bind_address, port.gateway_port),
        socket_options=KEEPALIVE,
        filter_chains=[{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": packed(proxy)}]}],
    )


def discovery(plan: EgressPlan, bind_address: str) -> Any:
    """The listener for our pilot; it is there without any peer too, so that the pilot gets an answer."""
    manager = connection_manager(
        "discovery",
        direction="outbound",
        virtual_host={"name": "discovery", "domains": ["*"], "routes": _routes(plan.peers)},
        filters=[http_filter("rbac", http_rbac_pb2.RBAC(rules=admit_only([plan.control_plane.identity])))],
    )
    return listener_pb2.Listener(
        name="discovery",
        address=socket_address(bind_address, DISCOVERY_PORT),
        listener_filters=[TLS_INSPECTOR],
        filter_chains=[
            {
                "transport_socket": tls.downstream(tls.from_own_mesh([plan.control_plane.identity]), alpn=["http/1.1"]),
                "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": packed(manager)}],
            }
        ],
        access_log=refused_log("outbound"),
    )


def _routes(peers: tuple[RemotePeer, ...]) -> list[dict[str, Any]]:
    """The paths of discovery, told apart by the headers; a call with any other value of them gets 404."""
    return [
        discovery_route(
            path=path,
            peer=peer.name,
            cluster=discovery_cluster_name(peer),
            headers=[
                exact_header("discovery-service", peer.discovery_name),
                exact_header("remote", str(peer.remote_checksum)),
                exact_header(VERSION_HEADER, peer.version),
            ],
            host_rewrite_literal=peer.discovery_name,
        )
        for peer in sorted(peers, key=lambda peer: peer.name)
        for path in ("/v1/watch", "/v1/services/", "/v1/peer", "/v1/trustbundle")
    ]
