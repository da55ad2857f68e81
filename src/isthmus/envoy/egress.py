"""The listeners of an egress gateway: what leaves the mesh.

8188 takes discovery calls from our own pilot only; imported ports, which local clients call in plain text as they would
call any Service, share listeners by blocks. Source: docs/protocol.md §1 and §3; docs/adr/0010.
"""

from collections.abc import Mapping
from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2

from isthmus.api.logs import AccessLogFile
from isthmus.envoy import failure_log, tls
from isthmus.envoy.access_log import connection_log, refused_log
from isthmus.envoy.cluster import METADATA, discovery_cluster_name, import_cluster_name
from isthmus.envoy.http import connection_manager, discovery_route, exact_header, http_filter, route_configuration
from isthmus.envoy.ingress import HANDSHAKE_TIMEOUT, TLS_INSPECTOR, admit_only
from isthmus.envoy.message import packed, socket_address
from isthmus.envoy.tcp import BEFORE_NEXT_ADDRESS, KEEPALIVE, cluster_named, on_demand_proxy
from isthmus.federation.names import CERTIFICATE_HEADER, VERSION_HEADER
from isthmus.federation.plan import DISCOVERY_PORT, EgressPlan, ImportedPort, RemotePeer
from isthmus.federation.ports import FIRST_PORT

PORTS_OF_A_BLOCK = 128
"""Gateway ports that share a listener. A listener costs Envoy 30 kB and a port in it 4 kB, so that ten thousand imports
cost 45 MB rather than 300."""
PORTS_WITH_CHAINS = 512
"""Gateway ports, from the first, that have a filter chain of their own, so that what is open through one import can be
closed without touching the others. A chain costs Envoy 9 kB: 5 MB for these, 90 MB for ten thousand imports."""
PORTS_OF_A_BLOCK_WITH_CHAINS = 16
"""Of these, gateway ports that share a listener, which is sent anew with each import: that takes Envoy 0.1 ms for each
chain of it."""

CONNECT_ATTEMPTS = 4
"""Addresses of a peer that a call tries, one after the other, until one can be connected to."""


def listeners(plan: EgressPlan, bind_address: str) -> list[Any]:
    """All listeners of this gateway."""
    blocks = sorted({block_of(port) for port in plan.imports})
    return [discovery(plan, bind_address), *(imports(plan, block, bind_address, plan.imports) for block in blocks)]


def block_of(gateway_port: int) -> int:
    """The block that a gateway port is in, by its first port."""
    return gateway_port - gateway_port % _size(gateway_port)


def block_name(block: int) -> str:
    """The listener of a block of gateway ports; one with other ports has another name, lest Envoy see two at a port."""
    ports = _ports(block)
    return f"imports|{ports[0]}-{ports[-1]}"


def has_chains(gateway_port: int) -> bool:
    """Whether a port, and each of its block, has a filter chain of its own; then its listener says what is imported."""
    return gateway_port < FIRST_PORT + PORTS_WITH_CHAINS


def imports(plan: EgressPlan, block: int, bind_address: str, imported: Mapping[int, ImportedPort]) -> Any:
    """The listener of a block of gateway ports, imported or not: the port that is called names the cluster.

    The cluster is made when it is first called; there is none for a port without import, and the call is closed.
    """
    first, *others = (socket_address(bind_address, port) for port in _ports(block))
    return listener_pb2.Listener(
        name=block_name(block),
        stat_prefix="imports",
        address=first,
        additional_addresses=[{"address": address} for address in others],
        socket_options=KEEPALIVE,
        filter_chains=_chains(block, imported) if has_chains(block) else [{"filters": _TO_PORT_CALLED}],
        access_log=[*_import_log(plan.access_log), *failure_log.calls(METADATA)],
    )


def _ports(block: int) -> range:
    return range(block, block + _size(block))


def _size(gateway_port: int) -> int:
    return PORTS_OF_A_BLOCK_WITH_CHAINS if has_chains(gateway_port) else PORTS_OF_A_BLOCK


def _chains(block: int, imported: Mapping[int, ImportedPort]) -> list[dict[str, Any]]:
    """A chain a port, named after the right that its connections rest on.

    Envoy closes the connections of a chain that is gone or another, and of no other chain.
    """
    return [
        {
            "name": f"{port}@{imported[port].right}" if port in imported else str(port),
            "filter_chain_match": {"destination_port": {"value": port}},
            "filters": [_proxy_to(import_cluster_name(port))],
        }
        for port in _ports(block)
    ]


def _proxy_to(cluster: str) -> dict[str, Any]:
    proxy = on_demand_proxy(stat_prefix="imports", cluster=cluster, connect_attempts=CONNECT_ATTEMPTS)
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": packed(proxy)}


_TO_PORT_CALLED = [
    {
        "name": "envoy.filters.network.set_filter_state",
        "typed_config": packed(cluster_named(import_cluster_name("%DOWNSTREAM_LOCAL_PORT%"))),
    },
    _proxy_to("unset"),
]
"""Of a chain for many ports: the one that is called names the cluster."""


def _import_log(to: AccessLogFile) -> list[dict[str, Any]]:
    """A line for each connection, of the listener lest each chain hold it; the cluster tells which import it is for."""
    said = {fact: f"%METADATA(CLUSTER:{METADATA}:{fact})%" for fact in ("peer", "service", "port")}
    return connection_log(to, "outbound", said.pop("peer"), gateway_port="%DOWNSTREAM_LOCAL_PORT%", **said)


def discovery(plan: EgressPlan, bind_address: str) -> Any:
    """The listener for our pilot; it is there without any peer too, so that the pilot gets an answer."""
    manager = connection_manager(
        "discovery",
        direction="outbound",
        filters=[http_filter("rbac", http_rbac_pb2.RBAC(rules=admit_only(plan.control_plane.identities)))],
        access_log=plan.access_log,
    )
    return listener_pb2.Listener(
        name="discovery",
        stat_prefix="discovery",
        address=socket_address(bind_address, DISCOVERY_PORT),
        listener_filters=[TLS_INSPECTOR],
        filter_chains=[
            {
                "transport_socket": tls.downstream(tls.from_own_mesh(plan.control_plane.identities), alpn=["http/1.1"]),
                "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": packed(manager)}],
            }
        ],
        access_log=[*refused_log(plan.access_log, "outbound"), *failure_log.refused()],
    )


def routes(plan: EgressPlan) -> list[Any]:
    """What the listener for our pilot passes on, and where to."""
    return [route_configuration("discovery", _routes(plan.peers))]


_TRY_NEXT_ADDRESS = {
    "retry_on": "connect-failure",
    "num_retries": {"value": CONNECT_ATTEMPTS - 1},
    "retry_back_off": BEFORE_NEXT_ADDRESS,
}


_PEER_CERTIFICATE = {
    "header": {"key": CERTIFICATE_HEADER, "value": "%UPSTREAM_PEER_CERT_V_END(%s)%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}


def _routes(peers: tuple[RemotePeer, ...]) -> list[dict[str, Any]]:
    """The paths of discovery, told apart by the headers; a call with any other value of them gets 404."""
    return [
        {
            **discovery_route(
                path=path,
                peer=peer.name,
                cluster=discovery_cluster_name(peer),
                headers=[
                    exact_header("discovery-service", peer.discovery_name),
                    exact_header("remote", str(peer.remote_checksum)),
                    exact_header(VERSION_HEADER, peer.version),
                ],
                host_rewrite_literal=peer.discovery_name,
                retry_policy=_TRY_NEXT_ADDRESS,
            ),
            "response_headers_to_add": [_PEER_CERTIFICATE],
        }
        for peer in sorted(peers, key=lambda peer: peer.name)
        for path in ("/v1/watch", "/v1/services/", "/v1/peer", "/v1/trustbundle")
    ]
