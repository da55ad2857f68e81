"""The listeners of an ingress gateway: what a peer may call.

8188 carries discovery to our own pilot, 15443 carries services by server name. On both, the client's certificate must
be vouched for by the bundle of its trust domain, and its identity must be the one that a ServiceMeshPeer names:
nothing the client says decides who it is. Source: docs/protocol.md §1 and §3.
"""

from collections.abc import Iterable
from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2

from isthmus.envoy import failure_log, tls
from isthmus.envoy.access_log import connection_log, refused_log
from isthmus.envoy.cluster import EXPORT_PREFIX, PILOT, statistics_of
from isthmus.envoy.enrolment import chain
from isthmus.envoy.http import connection_manager, discovery_route, http_filter, route_configuration
from isthmus.envoy.message import packed, seconds, socket_address
from isthmus.envoy.tcp import KEEPALIVE, cluster_named, on_demand_proxy
from isthmus.federation.names import export_suffix
from isthmus.federation.plan import DISCOVERY_PORT, SERVICE_PORT, AdmittedPeer, IngressPlan
from isthmus.identity import SpiffeId

TLS_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": packed(tls_inspector_pb2.TlsInspector()),
}
HANDSHAKE_TIMEOUT = seconds(10)
"""A connection that has not shown its certificate by then is closed."""
DISCOVERY, VACANT = "discovery", "vacant"
"""The routes of discovery, with peers and without."""
IDLE_S = 2.0
"""How long a connection of discovery may be without a request: what is left open by a peer without a right ends."""


def listeners(plan: IngressPlan, bind_address: str) -> list[Any]:
    """The listeners of this gateway; that of discovery says so where there is no peer to admit."""
    chains = [_discovery_chain(plan) if plan.peers else _vacant_chain(plan)]
    enrolment = [chain(plan.enrolment, plan.access_log)] if plan.enrolment else []
    services = [_services(plan, bind_address)] if plan.peers else []
    return [_discovery(plan, [*chains, *enrolment], bind_address), *services]


def _services(plan: IngressPlan, bind_address: str) -> Any:
    return listener_pb2.Listener(
        name="services",
        stat_prefix="services",
        address=socket_address(bind_address, SERVICE_PORT),
        listener_filters=[TLS_INSPECTOR],
        socket_options=KEEPALIVE,
        filter_chains=[_service_chain(plan, peer) for peer in sorted(plan.peers, key=lambda peer: peer.name)],
        access_log=_refused_logs(plan),
    )


def _service_chain(plan: IngressPlan, peer: AdmittedPeer) -> dict[str, Any]:
    """One chain a peer, not one a service: what is exported is asked of the pilot when a name is first called.

    Envoy closes the connections of a chain that is gone or another, and of no other chain: so the chain is named after
    all that gives the peer its right, which with the identity in it are the roots.
    """
    return {
        "name": f"{peer.name}@{peer.trusted_as}" if peer.trusted_as else peer.name,
        "filter_chain_match": {"server_names": [f"*.{export_suffix(peer.name)}"], "transport_protocol": "tls"},
        "transport_socket": tls.downstream(tls.from_peer(tls.bundle_name(peer.name))),
        "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
        "filters": [
            _filter("rbac", network_rbac_pb2.RBAC(rules=admit_only([peer.client]), stat_prefix=_counted(peer))),
            # After what the client asks for; the pilot answers for that name or says there is none.
            _filter("set_filter_state", cluster_named(f"{EXPORT_PREFIX}%REQUESTED_SERVER_NAME%")),
            _filter("tcp_proxy", _to_service(plan, peer)),
        ],
    }


def _to_service(plan: IngressPlan, peer: AdmittedPeer) -> Any:
    access_log = connection_log(plan.access_log, "inbound", peer.name)
    return on_demand_proxy(stat_prefix=_counted(peer), cluster="unset", access_log=access_log)


def _counted(peer: AdmittedPeer) -> str:
    return statistics_of("inbound", peer.name)


def _discovery(plan: IngressPlan, chains: list[dict[str, Any]], bind_address: str) -> Any:
    return listener_pb2.Listener(
        name="discovery",
        stat_prefix="discovery",
        address=socket_address(bind_address, DISCOVERY_PORT),
        listener_filters=[TLS_INSPECTOR],
        filter_chains=chains,
        access_log=_refused_logs(plan),
    )


def _discovery_chain(plan: IngressPlan) -> dict[str, Any]:
    """One chain for all peers, who cannot be told apart before they have shown their certificates.

    It lets nobody in; the routes do. So it stays as it is while peers come and go, and with it everybody's watches:
    those of a peer that lost its right are ended by the pilot, and a connection without a request is closed. It has
    another name once a root was taken away, since a connection may have been let in by that root.
    """
    manager = connection_manager(
        DISCOVERY,
        direction="inbound",
        filters=[http_filter("rbac", http_rbac_pb2.RBAC(rules=admit_only(())))],
        access_log=plan.access_log,
        idle_s=IDLE_S,
    )
    taken_away = sum(peer.roots_taken_away for peer in plan.peers)
    return {
        "name": f"{DISCOVERY}@{taken_away}" if taken_away else DISCOVERY,
        "transport_socket": tls.downstream(tls.from_peer(tls.ALL_BUNDLES), alpn=["http/1.1"]),
        "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
        "filters": [_filter("http_connection_manager", manager)],
    }


def _vacant_chain(plan: IngressPlan) -> dict[str, Any]:
    """Discovery of a gateway that no ServiceMeshPeer names: whoever calls is told so, and nothing else.

    A peer's administrator can then tell it from a gateway that does not run. It asks for no certificate, because there
    is none that it could believe.
    """
    manager = connection_manager(VACANT, direction="inbound", filters=[], access_log=plan.access_log)
    return {
        "transport_socket": tls.downstream_of_anyone(alpn=["http/1.1"]),
        "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
        "filters": [_filter("http_connection_manager", manager)],
    }


def _refused_logs(plan: IngressPlan) -> list[dict[str, Any]]:
    return [*refused_log(plan.access_log, "inbound"), *failure_log.refused()]


def routes(plan: IngressPlan) -> list[Any]:
    """Who may call which path of discovery: the peers, and each its own; an admitted peer is told 404 elsewhere."""
    if not plan.peers:
        answer = {"status": 404, "body": {"inline_string": "no ServiceMeshPeer here is served by this gateway\n"}}
        return [route_configuration(VACANT, [{"match": {"prefix": "/"}, "direct_response": answer}])]
    admitted = http_rbac_pb2.RBAC(rules=admit_only(peer.client for peer in plan.peers))
    rbac = http_rbac_pb2.RBACPerRoute(rbac=admitted)
    elsewhere = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    of_host = {"envoy.filters.http.rbac": packed(rbac)}
    return [route_configuration(DISCOVERY, [*_routes(plan), elsewhere], of_host=of_host)]


def _routes(plan: IngressPlan) -> list[dict[str, Any]]:
    """The paths of discovery, completed by the name that *we* give the caller, whom its certificate tells."""
    return [
        discovery_route(
            path=f"/v1/{what}{slash}",
            peer=peer.name,
            cluster=PILOT,
            rewrite_path=f"/v1/{what}/{peer.name}",
            client=peer.client,
        )
        for peer in sorted(plan.peers, key=lambda peer: peer.name)
        for what, slash in (("watch", ""), ("services", "/"), ("peer", ""), ("trustbundle", ""))
    ]


def admit_only(clients: Iterable[SpiffeId]) -> Any:
    """RBAC rules that let these identities pass and nobody else."""
    principals = [{"authenticated": {"principal_name": {"exact": str(client)}}} for client in sorted(clients)]
    policy = rbac_pb2.Policy(permissions=[{"any": True}], principals=principals)
    return rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW, policies={"clients": policy} if principals else {})


def _filter(name: str, config: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.network.{name}", "typed_config": packed(config)}
