"""What the protocol carries: named, versioned, opaque resources, and the requests and responses about them.

Source: xDS protocol, "Incremental xDS". The values mirror ``DeltaDiscoveryRequest`` and ``DeltaDiscoveryResponse``
without their protobuf types, so that the state machine can be driven by hand.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

WILDCARD = "*"
"""The name that subscribes to all eager resources of a type (xDS protocol, "Wildcard subscriptions")."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: ``body`` is the serialised protobuf message, without the ``Any`` around it."""

    name: str
    version: str
    body: bytes
    needs: tuple[tuple[str, str], ...] = ()
    """Type URLs and names of what a client waits for before it uses this one: it is sent again with it, although the
    client has it (xDS protocol, "Resource warming"). Envoy does not ask anew for what another resource uses already,
    and would wait in vain. Their type comes later in the stream's order than this one's."""

    @classmethod
    def of(cls, name: str, body: bytes, *, needs: Iterable[tuple[str, str]] = ()) -> "Resource":
        """A resource whose version is a digest of its body.

        Replicas and restarts therefore agree on versions, and a client that reconnects is sent only what differs.
        """
        return cls(name, hashlib.blake2b(body, digest_size=8).hexdigest(), body, tuple(needs))


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """What a client says: new subscriptions, the end of others, and the ACK or NACK of an earlier response."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""
    """The client's reason for a NACK; empty for an ACK or a spontaneous request."""


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    """What the server says: resources that are new to the client, and names that exist no longer."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A NACK: the client kept what it had, for the reason it gives."""

    type_url: str
    names: tuple[str, ...]
    reason: str


class ResourceView(Protocol):
    """What one client may see. Owned by the protocol; implemented by whoever has the resources."""

    def eager(self, type_url: str) -> Iterable[str]:
        """Names that a wildcard subscription to this type includes."""

    def is_eager(self, type_url: str, name: str) -> bool:
        """Whether a wildcard subscription to this type includes ``name``."""

    def get(self, type_url: str, name: str) -> Resource | None:
        """The resource of that name, eager or on demand; None if there is none for this client."""
