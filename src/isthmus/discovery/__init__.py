"""The HTTP between meshes, both ends: the server that a peer watches and the client that watches a peer.

Belongs here: requests, responses, streams, time-outs. Messages, checksums and the catalogue are ``federation``'s.
Only ``pilot`` imports it.
"""

from isthmus.discovery.app import discovery_app
from isthmus.discovery.bundle_document import encode_trust_bundle, parse_trust_bundle
from isthmus.discovery.client import PeerClient
from isthmus.discovery.enroller import Application, Enroller
from isthmus.discovery.enrolling import ask as ask_inviter
from isthmus.discovery.errors import (
    DiscoveryError,
    EnrolmentUnavailableError,
    ForbiddenError,
    LinkError,
    RefusedError,
    UnknownPeerError,
    UnsentError,
)
from isthmus.discovery.exchange import Route
from isthmus.discovery.exporter import Caller, ExportedLink, Exporter
from isthmus.discovery.feed import ExportFeed
from isthmus.discovery.report import PeerListener
from isthmus.discovery.server import DiscoveryServer
from isthmus.discovery.tally import Tally

__all__ = [
    "Application",
    "Caller",
    "DiscoveryError",
    "DiscoveryServer",
    "Enroller",
    "EnrolmentUnavailableError",
    "ExportFeed",
    "ExportedLink",
    "Exporter",
    "ForbiddenError",
    "LinkError",
    "PeerClient",
    "PeerListener",
    "RefusedError",
    "Route",
    "Tally",
    "UnknownPeerError",
    "UnsentError",
    "ask_inviter",
    "discovery_app",
    "encode_trust_bundle",
    "parse_trust_bundle",
]
