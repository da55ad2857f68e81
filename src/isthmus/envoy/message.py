"""Small pieces that all Envoy resources are made of, and the type URLs of those served over xDS."""

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct

TYPE_PREFIX = "type.googleapis.com/"
CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

ORDER = (SECRET, CLUSTER, ENDPOINTS, ROUTES, LISTENER)
"""The order in which additions are safe: what is used comes before what uses it."""

ADS = {"ads": {}, "resource_api_version": "V3"}
"""A ``ConfigSource``: over the aggregated stream."""

ON_DEMAND: dict[str, Any] = {"odcds_config": ADS, "timeout": {"seconds": 1}}
"""How a ``tcp_proxy`` asks the pilot for a cluster it has never seen; the pilot answers in milliseconds.

NB: Envoy asks once for each name. A name that the pilot said does not exist, and that is called again, is not asked for
anew: the connection waits for the time-out, unless the pilot announces the cluster meanwhile, and is then closed.
"""


def packed(message: Any) -> AnyMessage:
    """The message as ``google.protobuf.Any``, serialised the same way each time."""
    wrapped = AnyMessage()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def serialised(message: Any) -> bytes:
    """The message as bytes; the same message gives the same bytes."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def socket_address(host: str, port: int) -> dict[str, Any]:
    """An ``Address`` of TCP: an IP address, or a name where Envoy resolves names."""
    return {"socket_address": {"address": host, "port_value": port}}


def seconds(value: float) -> dict[str, int]:
    """A ``Duration``."""
    whole = int(value)
    return {"seconds": whole, "nanos": round((value - whole) * 1_000_000_000)}


def struct(fields: dict[str, Any]) -> Struct:
    """A ``Struct`` of constants."""
    message = Struct()
    message.update(fields)
    return message
