"""The incremental xDS protocol: subscriptions, versions, nonces, ACK and NACK.

Belongs here: the protocol as a state machine to be driven by hand, and the gRPC service around it. Resources are opaque
bytes with a name and a version. Must not: know what a cluster or a peer is.
"""

from isthmus.xds.pushes import PushListener
from isthmus.xds.resource import WILDCARD, DeltaRequest, DeltaResponse, Rejection, Resource, ResourceView
from isthmus.xds.server import AGGREGATED, SECRETS, Clients, DeltaService
from isthmus.xds.stream import DeltaStream, SubscriptionLimitError
from isthmus.xds.table import ResourceTable

__all__ = [
    "AGGREGATED",
    "SECRETS",
    "WILDCARD",
    "Clients",
    "DeltaRequest",
    "DeltaResponse",
    "DeltaService",
    "DeltaStream",
    "PushListener",
    "Rejection",
    "Resource",
    "ResourceTable",
    "ResourceView",
    "SubscriptionLimitError",
]
