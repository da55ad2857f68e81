"""The names that services bear between meshes.

Source: docs/protocol.md §2 and §3, docs/reference.md §4 and §5.
"""

import re
import sys
from dataclasses import dataclass

from isthmus.api.meta import DNS_LABEL

VERSION_HEADER = "isthmus-peer-version"
"""Header of discovery calls on their way to our own egress gateway: ``RemotePeer.version``. It ends there."""

CERTIFICATE_HEADER = "isthmus-peer-certificate-ends"
"""Header of answers to discovery calls from our own egress gateway: when the certificate ends that the peer has shown
to it, in seconds since 1970. What a peer says under that name is replaced."""

CHECK_ANNOTATION = "isthmus.io/check"
"""On a ServiceMeshPeer: asks the control plane to check the link; its value comes back with the answer."""

MAX_SERVER_NAME_BYTES = 255
"""Of Envoy's ``UpstreamTlsContext.sni``. Names by the protocol have 228 at most, of which each part is a DNS label."""

MAX_HOSTNAME_LENGTH = 253
"""Of a name in DNS, as text without a dot at its end (RFC 1035 §2.3.4)."""

_LABEL = re.compile(DNS_LABEL)
_SERVER_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_SERVER_NAME_BYTES}}}")
_OUTBOUND = re.compile(r"outbound_\.(?P<port>[0-9]{1,5})_\._\.(?P<host>.+)")


def exported_hostname(name: str, namespace: str, peer: str) -> str:
    """The host name under which a service is exported to ``peer``, as the exporter names that peer.

    One object for all who hold it, who are many.
    """
    return sys.intern(f"{name}.{namespace}.{export_suffix(peer)}")


def export_suffix(peer: str) -> str:
    """The suffix of all names exported to ``peer``; it tells an ingress gateway which peer a name is for."""
    return f"svc.{peer}-exports.local"


def import_suffix(peer: str) -> str:
    """The default domain suffix of what is imported from ``peer``, as the importer names it."""
    return f"svc.{peer}-imports.local"


def discovery_name(peer: str, namespace: str) -> str:
    """Authority and SNI of discovery calls to ``peer``; ``namespace`` is that of our own control plane."""
    return f"discovery.{namespace}.svc.{peer}.local"


def outbound_sni(hostname: str, port: int) -> str:
    """The server name that an importer's egress gateway asks for."""
    return f"outbound_.{port}_._.{hostname}"


def is_dns_label(text: str) -> bool:
    """Whether Kubernetes takes it as the name of a Service's port, or as a label of a DNS name (RFC 1123)."""
    return _LABEL.fullmatch(text) is not None


def is_server_name(text: str) -> bool:
    """Whether a gateway can ask for it in a handshake (RFC 6066 §3: a DNS name in ASCII; ``_`` is the protocol's)."""
    return _SERVER_NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RequestedService:
    """What a server name asks for: an exported host, and a port unless the name leaves that open."""

    hostname: str
    port: int | None


def parse_sni(server_name: str) -> RequestedService:
    """Read a server name: ``outbound_.<port>_._.<host>``, or the bare host (docs/protocol.md §3).

    Anything else is taken as a host name; that nothing of that name is exported is for the caller to find.
    """
    match = _OUTBOUND.fullmatch(server_name)
    if match is None:
        return RequestedService(server_name, None)
    return RequestedService(match["host"], int(match["port"]))


def exported_to(hostname: str) -> str | None:
    """The peer that an exported host name is for, or None if it is no such name."""
    prefix, found, suffix = hostname.rpartition(".svc.")
    peer = suffix.removesuffix("-exports.local")
    return peer if found and prefix and peer != suffix and "." not in peer else None
