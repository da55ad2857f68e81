"""Endpoints: where a cluster's traffic goes."""

from collections.abc import Iterable
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from isthmus.envoy.message import socket_address
from isthmus.federation.plan import Endpoint


def load_assignment(name: str, endpoints: Iterable[Endpoint]) -> Any:
    """A ``ClusterLoadAssignment`` of equal endpoints, sorted; it may be empty."""
    ordered = sorted(set(endpoints))
    return endpoint_pb2.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[{"lb_endpoints": [{"endpoint": {"address": socket_address(e.host, e.port)}} for e in ordered]}],
    )
