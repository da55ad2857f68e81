"""The configuration that Envoy starts with: how to reach its pilot and its agent, and what bounds it.

A pure function of the settings; everything else comes by xDS. Source: Envoy ``envoy.config.bootstrap.v3``.

Invariants: no plain-text listener but the statistics; the admin interface is a Unix socket in a private directory;
every upstream connection leaves from the pod's own address; Envoy is not LIVE before listeners and clusters have come
from the pilot, however long that takes (an initial fetch without time-out).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format

from isthmus.envoy import tls
from isthmus.envoy.failure_log import CONTROL_PLANE_CLUSTER as XDS_CLUSTER
from isthmus.envoy.message import packed, seconds, socket_address, struct
from isthmus.gateway import statistics
from isthmus.gateway.settings import DnsServer, GatewaySettings

ADMIN_CLUSTER = "admin"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ADS_WITHOUT_TIMEOUT = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": {"seconds": 0}}


@dataclass(frozen=True, slots=True)
class Sockets:
    """The Unix sockets in a gateway's private directory, by whatever name or relation one has it."""

    directory: Path

    @property
    def sds(self) -> Path:
        """Where the agent serves the pod's certificate and the mesh's root."""
        return self.directory / "sds.sock"

    @property
    def admin(self) -> Path:
        """Envoy's admin interface."""
        return self.directory / "admin.sock"


def bootstrap(settings: GatewaySettings, sockets: Sockets, *, json_log: bool = True) -> Any:
    """The ``Bootstrap`` message of this gateway; ``json_log`` has Envoy's own log in JSON."""
    message = bootstrap_pb2.Bootstrap(
        node=_node(settings),
        admin={"address": _pipe(sockets.admin)},
        dynamic_resources={
            "ads_config": _ads(),
            "lds_config": _ADS_WITHOUT_TIMEOUT,
            "cds_config": _ADS_WITHOUT_TIMEOUT,
        },
        static_resources={
            "listeners": [statistics.listener(settings, ADMIN_CLUSTER)],
            "clusters": [_xds(settings), _local(tls.AGENT_CLUSTER, sockets.sds, http2=True), _admin(sockets)],
        },
        cluster_manager={"upstream_bind_config": {"source_address": {"address": settings.pod_ip, "port_value": 0}}},
        layered_runtime={"layers": [{"name": "limits", "static_layer": struct(_RUNTIME)}]},
        overload_manager=_overload(settings.max_connections),
        stats_config=statistics.KEPT,
    )
    if settings.dns_server is not None:
        message.typed_dns_resolver_config.MergeFrom(_resolver(settings.dns_server))
    if json_log:
        message.application_log_config.log_format.json_format.update(_JSON_LOG)
    return message


def bootstrap_json(message: Any) -> str:
    """The message as JSON, for a file that Envoy reads."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, sort_keys=True)


def _node(settings: GatewaySettings) -> dict[str, Any]:
    """What Envoy says of itself; who it is, the pilot learns from the certificate alone."""
    metadata = {
        "GATEWAY": settings.name,
        "MESH": settings.mesh,
        "NAMESPACE": settings.namespace,
        "POD_IP": settings.pod_ip,
        "POD_NAME": settings.pod_name,
        "ROLE": settings.role.value,
    }
    return {
        "id": f"{settings.pod_name}.{settings.namespace}",
        "cluster": f"{settings.name}.{settings.namespace}",
        "metadata": struct(metadata),
    }


def _ads() -> dict[str, Any]:
    # Envoy's own default lets a gateway wait for up to 30 s after its pilot is back.
    retry = {"retry_back_off": {"base_interval": seconds(0.2), "max_interval": seconds(3)}}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": retry}}],
    }


def _xds(settings: GatewaySettings) -> Any:
    """The pilot's aggregated discovery service, by mutual TLS: only our pilot is believed."""
    validation = tls.from_own_mesh(settings.pilot_identities)
    return cluster_pb2.Cluster(
        name=XDS_CLUSTER,
        cluster_type={"name": "envoy.clusters.dns", "typed_config": packed(_DNS)},
        connect_timeout=seconds(2),
        load_assignment=_assignment(XDS_CLUSTER, socket_address(settings.pilot, settings.xds_port)),
        transport_socket=tls.upstream(validation, sni=settings.pilot_server_name, alpn=("h2",)),
        typed_extension_protocol_options={_HTTP_OPTIONS: _http2(keepalive=True)},
        upstream_connection_options={
            "tcp_keepalive": {
                "keepalive_time": {"value": 15},
                "keepalive_interval": {"value": 5},
                "keepalive_probes": {"value": 3},
            }
        },
    )


def _local(name: str, path: Path, *, http2: bool) -> Any:
    """A cluster of one Unix socket; the pod's address has no meaning for it."""
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(1),
        load_assignment=_assignment(name, _pipe(path)),
        typed_extension_protocol_options={_HTTP_OPTIONS: _http2(keepalive=False)} if http2 else {},
    )


def _admin(sockets: Sockets) -> Any:
    return _local(ADMIN_CLUSTER, sockets.admin, http2=False)


def _http2(*, keepalive: bool) -> Any:
    """HTTP/2; with ``keepalive`` a pilot is given up that hangs while its kernel still answers.

    A network that is silent is noticed by TCP, in 30 s. A gRPC server takes pings for abuse that come more often than
    every five minutes without data between them, and closes the connection (gRPC A8 and A9).
    """
    ping = {"connection_keepalive": {"interval": seconds(310), "timeout": seconds(10)}} if keepalive else {}
    options = http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config={"http2_protocol_options": ping},
    )
    return packed(options)


def _overload(max_connections: int) -> dict[str, Any]:
    config = downstream_connections_pb2.DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": monitor, "typed_config": packed(config)}]}


def _resolver(server: DnsServer) -> Any:
    """All names, those of the pilot's cluster as well, are asked of this server, as they are: no search list."""
    config = cares_dns_resolver_pb2.CaresDnsResolverConfig(
        resolvers=[socket_address(server.address, server.port)],
        dns_resolver_options={"no_default_search_domain": True},
    )
    return extension_pb2.TypedExtensionConfig(name="envoy.network.dns_resolver.cares", typed_config=packed(config))


def _assignment(name: str, address: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path)}}


_DNS = dns_cluster_pb2.DnsCluster(
    respect_dns_ttl=True,
    dns_lookup_family="V4_PREFERRED",
    # A name that does not exist yet, while the mesh comes up, should not cost more than it must.
    dns_failure_refresh_rate={"base_interval": seconds(0.2), "max_interval": seconds(2)},
)

_RUNTIME = {"re2.max_program_size.error_level": 4096}
"""Envoy refuses expressions of more than 100 instructions, which one that matches an identity has as soon as the names
in it are a little long. One instruction is about a character, and an identity has 2048 bytes at most."""

_JSON_LOG = {"event": "%j", "level": "%l", "logger": "envoy.%n", "timestamp": "%Y-%m-%dT%T.%e%z"}
