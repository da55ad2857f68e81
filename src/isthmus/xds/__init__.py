"""The incremental xDS protocol: subscriptions, versions, nonces, ACK and NACK.

Belongs here: the protocol as a state machine to be driven by hand, and the gRPC service around it. Resources are opaque
bytes with a name and a version. Must not: know what a cluster or a peer is.
"""

from isthmus.xds.limits import LIMITS, MAX_REQUEST_BYTES, Limits, StreamLimitError
from isthmus.xds.pushes import PushListener
from isthmus.xds.resource import WILDCARD, DeltaRequest, DeltaResponse, Rejection, Resource, ResourceView
from isthmus.xds.server import AGGREGATED, SECRETS, Clients, DeltaService
from isthmus.xds.stream import DeltaStream
from isthmus.xds.table import ResourceTable

__all__ = [
    "AGGREGATED",
    "LIMITS",
    "MAX_REQUEST_BYTES",
    "SECRETS",
    "WILDCARD",
    "Clients",
    "DeltaRequest",
    "DeltaResponse",
    "DeltaService",
    "DeltaStream",
    "Limits",
    "PushListener",
    "Rejection",
    "Resource",
    "ResourceTable",
    "ResourceView",
    "StreamLimitError",
]
