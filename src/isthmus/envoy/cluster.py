"""Clusters: the hops of a gateway.

Names are the contract with the listeners: ``pilot``, ``discovery|<peer>|<version>``, ``export|<server name>`` (the
server name asked for, as the peer wrote it) and ``import|<gateway port>``. The last two are made on demand only.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any, Literal

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from isthmus.envoy import tls
from isthmus.envoy.endpoint import load_assignment
from isthmus.envoy.message import ADS, packed, seconds, struct
from isthmus.federation.names import exported_to, outbound_sni, parse_sni
from isthmus.federation.plan import ControlPlane, Endpoint, ExportTarget, ImportedPort, RemotePeer

PILOT = "pilot"
EXPORT_PREFIX = "export|"
IMPORT_PREFIX = "import|"
METADATA = "isthmus"
"""The namespace of the metadata by which an import's cluster tells the access log of its listener what it is for."""

_CONNECT_TIMEOUT = seconds(5)
_PEER_CONNECT_TIMEOUT = seconds(2)
"""TCP and TLS to one address of a peer; then the next is tried, so it is what a black hole among them costs a call."""
_OUTLIERS: dict[str, Any] = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": {"value": 1},
    "enforcing_consecutive_5xx": {"value": 0},
    "enforcing_success_rate": {"value": 0},
    "enforcing_local_origin_success_rate": {"value": 0},
    "interval": seconds(2),
    "base_ejection_time": seconds(5),
    "max_ejection_time": seconds(30),
    "max_ejection_percent": {"value": 100},
}
"""An address of a peer to which no connection can be made takes no calls for 5 s, then 10, up to 30. Told by the calls
themselves: active checks would be one for each address, import and second, where a mesh has thousands of imports."""
_NONE_HEALTHY = {"healthy_panic_threshold": {"value": 1}}
"""When no address can be connected to, all are tried; Envoy's own threshold would try the dead while half are alive."""
_KEEPALIVE = {
    "tcp_keepalive": {
        "keepalive_probes": {"value": 3},
        "keepalive_time": {"value": 15},
        "keepalive_interval": {"value": 5},
    }
}
"""A silent link is given up after 30 s, so that a black hole does not hold connections for ever."""


_STATIC: dict[str, Any] = {"type": cluster_pb2.Cluster.STATIC}
_BY_NAME: dict[str, Any] = {
    "cluster_type": {
        "name": "envoy.clusters.dns",
        "typed_config": packed(
            dns_cluster_pb2.DnsCluster(
                respect_dns_ttl=True,
                dns_lookup_family="V4_PREFERRED",
                dns_failure_refresh_rate={"base_interval": seconds(1), "max_interval": seconds(5)},
            )
        ),
    }
}

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ONE_REQUEST = http_protocol_options_pb2.HttpProtocolOptions(
    explicit_http_config={"http_protocol_options": {}},
    common_http_protocol_options={"max_requests_per_connection": {"value": 1}},
)
"""A connection for each discovery call, so that each is checked against the trust of the moment: a connection that is
used again was checked when it was made."""


def statistics_of(what: Literal["inbound", "outbound", "discovery"], peer: str) -> str:
    """The name under which one kind of traffic with one peer is counted, of however many clusters.

    A cluster's own statistics are some thirty series: with ten thousand imports, more than a scrape can bear.
    """
    return f"{what}|{peer}"


def discovery_cluster_name(peer: RemotePeer) -> str:
    """The cluster by which discovery calls reach ``peer`` as it is described now.

    One that is described otherwise has another name: a cluster of the same name would carry calls to the former
    addresses, under the former trust, until the new one has been warmed.
    """
    return f"discovery|{peer.name}|{peer.version}"


def import_cluster_name(gateway_port: int | str) -> str:
    """The cluster behind one gateway port of an egress gateway; the port may be an operator that stands for it."""
    return f"{IMPORT_PREFIX}{gateway_port}"


def pilot(control_plane: ControlPlane) -> Any:
    """From an ingress gateway to its own pilot's discovery server."""
    endpoint = Endpoint(control_plane.host, control_plane.discovery_port)
    socket = tls.upstream(tls.from_own_mesh(control_plane.identities), sni=control_plane.host)
    return _to(PILOT, [endpoint], socket)


def discovery(peer: RemotePeer) -> Any:
    """From an egress gateway to the discovery port of the peer's ingress gateway."""
    validation = tls.from_peer(tls.bundle_name(peer.name))
    socket = tls.upstream(validation, sni=peer.discovery_name, alpn=tls.ALPN_OF_PEERS)
    built = _to_peer(discovery_cluster_name(peer), peer.discovery, socket)
    built.alt_stat_name = statistics_of("discovery", peer.name)
    built.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(_ONE_REQUEST))
    return built


def imported(port: ImportedPort, peer: RemotePeer) -> Any:
    """From an egress gateway to one exported service, by server name."""
    validation = tls.from_peer(tls.bundle_name(peer.name), port.servers)
    sni = outbound_sni(port.hostname, port.service_port)
    socket = tls.upstream(validation, sni=sni, alpn=tls.ALPN_OF_PEERS[:1])
    built = _to_peer(import_cluster_name(port.gateway_port), peer.services, socket)
    built.alt_stat_name = statistics_of("outbound", peer.name)
    facts = {"peer": port.peer, "service": _printable(port.hostname), "port": port.service_port}
    built.metadata.filter_metadata[METADATA].CopyFrom(struct(facts))
    return built


def exported(server_name: str, target: ExportTarget) -> Any:
    """From an ingress gateway to the pods of a local service, under the server name that was asked for."""
    return cluster_pb2.Cluster(
        name=EXPORT_PREFIX + server_name,
        alt_stat_name=statistics_of("inbound", exported_to(parse_sni(server_name).hostname) or ""),
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config={"eds_config": ADS, "service_name": target.key},
        connect_timeout=_CONNECT_TIMEOUT,
        upstream_connection_options=_KEEPALIVE,
    )


def _to_peer(name: str, endpoints: Iterable[Endpoint], transport_socket: dict[str, Any]) -> Any:
    """As ``_to``, to all addresses of a peer's gateway: those that cannot be connected to are left out for a while."""
    built = _to(name, endpoints, transport_socket, connect_timeout=_PEER_CONNECT_TIMEOUT)
    built.MergeFrom(cluster_pb2.Cluster(outlier_detection=_OUTLIERS, common_lb_config=_NONE_HEALTHY))
    return built


def _to(
    name: str,
    endpoints: Iterable[Endpoint],
    transport_socket: dict[str, Any],
    *,
    connect_timeout: dict[str, int] = _CONNECT_TIMEOUT,
) -> Any:
    """A cluster of the given endpoints; names among them are resolved again as their TTL says, and all are used."""
    listed = sorted(set(endpoints))
    return cluster_pb2.Cluster(
        name=name,
        connect_timeout=connect_timeout,
        load_assignment=load_assignment(name, listed),
        transport_socket=transport_socket,
        upstream_connection_options=_KEEPALIVE,
        **(_STATIC if all(_is_ip(endpoint.host) for endpoint in listed) else _BY_NAME),
    )


def _printable(name: str) -> str:
    """A name of the peer's in a form that cannot forge a line of an access log."""
    return "".join(each if "!" <= each <= "~" else "_" for each in name)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
