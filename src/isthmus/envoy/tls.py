"""Mutual TLS at every hop: transport sockets, and the names of the secrets they use.

The gateway's own certificate and the root of its mesh come from the agent in its pod, over a Unix socket (static
cluster ``sds-grpc``): keys never pass through here. Peers' bundles come from the pilot, over the aggregated stream.
Sources: Envoy ``envoy.extensions.transport_sockets.tls.v3``; SPIFFE X509-SVID §4; docs/protocol.md §1 and §3.
"""

from collections.abc import Iterable
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from isthmus.envoy.message import ADS, packed
from isthmus.identity import SpiffeId

AGENT_CLUSTER = "sds-grpc"
OWN_CERTIFICATE = "default"
OWN_ROOT = "ROOTCA"
ALPN_OF_PEERS = ("istio", "http/1.1")
"""What gateways of Service Mesh 2 offer each other, and what our listeners choose."""

_AGENT_SDS = {
    "api_config_source": {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": AGENT_CLUSTER}}],
        "set_node_on_first_message_only": True,
    },
    "resource_api_version": "V3",
}
_AT_LEAST_TLS_1_2 = {"tls_minimum_protocol_version": "TLSv1_2"}


def bundle_name(peer: str) -> str:
    """The secret with the roots of one peer."""
    return f"bundle|{peer}"


ALL_BUNDLES = "bundles"
"""The secret with the roots of all peers of an ingress gateway, each for its own trust domain."""


def own_certificate() -> dict[str, Any]:
    """``SdsSecretConfig`` of the gateway's certificate."""
    return {"name": OWN_CERTIFICATE, "sds_config": _AGENT_SDS}


def from_own_mesh(identities: Iterable[SpiffeId]) -> dict[str, Any]:
    """``CombinedCertificateValidationContext``: the root of our mesh, and one of these identities."""
    return _combined({"name": OWN_ROOT, "sds_config": _AGENT_SDS}, identities)


def from_peer(secret: str, identities: Iterable[SpiffeId] = ()) -> dict[str, Any]:
    """``CombinedCertificateValidationContext``: a peer's bundle, and one of these identities if any are given.

    Without identities the trust domain alone is checked, by the SPIFFE validator.
    """
    return _combined({"name": secret, "sds_config": ADS}, identities)


def downstream(validation: dict[str, Any], *, alpn: Iterable[str] = ()) -> dict[str, Any]:
    """A transport socket that requires a client certificate."""
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=_common(validation, alpn), require_client_certificate={"value": True}
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": packed(context)}


def downstream_of_anyone(*, alpn: Iterable[str] = ()) -> dict[str, Any]:
    """A transport socket that shows our certificate and asks for none: who calls has to be proved inside."""
    common = {
        "tls_params": _AT_LEAST_TLS_1_2,
        "tls_certificate_sds_secret_configs": [own_certificate()],
        "alpn_protocols": list(alpn),
    }
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate={"value": False},
        disable_stateless_session_resumption=True,
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": packed(context)}


def upstream(validation: dict[str, Any], *, sni: str, alpn: Iterable[str] = ()) -> dict[str, Any]:
    """A transport socket that presents the gateway's certificate and asks for ``sni``."""
    context = tls_pb2.UpstreamTlsContext(common_tls_context=_common(validation, alpn), sni=sni)
    return {"name": "envoy.transport_sockets.tls", "typed_config": packed(context)}


def _common(validation: dict[str, Any], alpn: Iterable[str]) -> dict[str, Any]:
    return {
        "tls_params": _AT_LEAST_TLS_1_2,
        "tls_certificate_sds_secret_configs": [own_certificate()],
        "combined_validation_context": validation,
        "alpn_protocols": list(alpn),
    }


def _combined(secret: dict[str, Any], identities: Iterable[SpiffeId]) -> dict[str, Any]:
    matchers = [{"san_type": "URI", "matcher": {"exact": str(identity)}} for identity in sorted(identities)]
    return {
        "default_validation_context": {"match_typed_subject_alt_names": matchers},
        "validation_context_sds_secret_config": secret,
    }
