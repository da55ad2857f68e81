"""Why a link is not as it should be: one reason for each cause, who has to act, and what to do.

The table is the only place where a reason is explained: conditions, events, commands and docs/conditions.md all tell
what stands here. A reason is part of the API: programs compare it, so it is never renamed. Which cause it is in a case
is decided in ``link_causes`` and ``peer_conditions``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ACCEPTED: Final = "Accepted"
TRUST_RESOLVED: Final = "TrustResolved"
GATEWAYS_READY: Final = "GatewaysReady"
REACHABLE: Final = "Reachable"
ADMITTED: Final = "Admitted"
SYNCED: Final = "Synced"
REMOTE_CONNECTED: Final = "RemoteConnected"
READY: Final = "Ready"

PEER_CONDITIONS: Final = (ACCEPTED, TRUST_RESOLVED, GATEWAYS_READY, REACHABLE, ADMITTED, SYNCED, REMOTE_CONNECTED)
"""In the order in which one needs the other: the first that does not hold is the one to mend, and what Ready tells."""


class Side(StrEnum):
    """Who has to act."""

    HERE = "here"
    PEER = "at the peer"
    BETWEEN = "in the network between the two"
    EITHER = "here or at the peer"


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason: which condition it makes False, who acts, what it means, and what to do."""

    reason: str
    condition: str
    side: Side
    meaning: str
    action: str

    def told(self, seen: str) -> str:
        """The message of a condition: what was ``seen``, and what to do about it."""
        return f"{seen.rstrip('. ')}. To be mended {self.side}: {self.action}"


CAUSES: Final = (
    Cause(
        "InvalidName",
        ACCEPTED,
        Side.HERE,
        "The name of the ServiceMeshPeer cannot be part of host names.",
        "create the peer under a name of a-z, 0-9 and '-', such as green-mesh.",
    ),
    Cause(
        "InvalidIdentity",
        ACCEPTED,
        Side.HERE,
        "spec.security.trustDomain or spec.security.clientID is no such thing.",
        "correct spec.security as the peer's administrator tells it.",
    ),
    Cause(
        "ClientOutsideTrustDomain",
        ACCEPTED,
        Side.HERE,
        "The clientID is not of the trust domain, so no root could vouch for it.",
        "make spec.security.clientID and spec.security.trustDomain agree.",
    ),
    Cause(
        "ClientIDTaken",
        ACCEPTED,
        Side.HERE,
        "An older ServiceMeshPeer has the same clientID at the same ingress gateway, which could not tell them apart.",
        "correct spec.security.clientID in one of the two, or name another ingress gateway.",
    ),
    Cause(
        "KubernetesUnreachable",
        ACCEPTED,
        Side.HERE,
        "The control plane cannot follow its own cluster: what it does rests on what it saw before.",
        "see to the API server, and to the rights of the control plane's service account.",
    ),
    Cause(
        "RootNotFound",
        TRUST_RESOLVED,
        Side.HERE,
        "The ConfigMap with the peer's root certificates does not exist.",
        "create the ConfigMap with the peer's root under key root-cert.pem.",
    ),
    Cause(
        "RootKeyMissing",
        TRUST_RESOLVED,
        Side.HERE,
        "The ConfigMap is there, without key root-cert.pem.",
        "put the peer's root under key root-cert.pem of the ConfigMap.",
    ),
    Cause(
        "RootInvalid",
        TRUST_RESOLVED,
        Side.HERE,
        "Key root-cert.pem holds no usable root certificates.",
        "copy the PEM anew from the peer's ConfigMap istio-ca-root-cert.",
    ),
    Cause(
        "TrustDomainTaken",
        TRUST_RESOLVED,
        Side.HERE,
        "An older ServiceMeshPeer is of the same trust domain and has other roots; neither may vouch for the other.",
        "correct spec.security.trustDomain, or the root in one of the ConfigMaps.",
    ),
    Cause(
        "RootExpired",
        TRUST_RESOLVED,
        Side.HERE,
        "All root certificates of the peer that are known here have expired.",
        "get the peer's present root, and put it into the ConfigMap.",
    ),
    Cause(
        "GatewayNotFound",
        GATEWAYS_READY,
        Side.HERE,
        "The resource names a gateway that does not exist.",
        "add the gateway to spec.gateways of the ServiceMeshControlPlane, or correct spec.gateways here.",
    ),
    Cause(
        "GatewayNotReady",
        GATEWAYS_READY,
        Side.HERE,
        "The gateway exists, and none of its pods is ready.",
        "look at the gateway's pods: kubectl get pods, describe, logs.",
    ),
    Cause(
        "GatewayNotConnected",
        GATEWAYS_READY,
        Side.HERE,
        "The gateway's pods are ready, but take no configuration from, or cannot be called by, their control plane.",
        "look at the log of the gateway, and at the network between it and the control plane (ports 15011, 8188).",
    ),
    Cause(
        "ConfigurationRejected",
        GATEWAYS_READY,
        Side.HERE,
        "A gateway has rejected its configuration, and keeps what it had.",
        "report the text as a bug of Isthmus, with the resources.",
    ),
    Cause(
        "AddressNotResolved",
        REACHABLE,
        Side.HERE,
        "A name in spec.remote.addresses does not resolve.",
        "correct spec.remote.addresses, or the DNS that the egress gateway uses.",
    ),
    Cause(
        "ConnectionRefused",
        REACHABLE,
        Side.PEER,
        "At the address nobody listens, or there is no route to it.",
        "see that the peer's ingress gateway runs and is exposed at this address and port.",
    ),
    Cause(
        "ConnectionTimedOut",
        REACHABLE,
        Side.BETWEEN,
        "Nothing comes back from the address: packets are dropped on the way, or the line has fallen silent.",
        "look for firewalls, security groups and load balancers on the way to this address and port.",
    ),
    Cause(
        "NotTls",
        REACHABLE,
        Side.HERE,
        "Something answers there that does not speak TLS.",
        "correct spec.remote: it must lead to the peer's ingress gateway, by load balancers that pass TLS on.",
    ),
    Cause(
        "UnexpectedServer",
        REACHABLE,
        Side.HERE,
        "A TLS server answers there that is no gateway of a mesh.",
        "correct spec.remote: it must lead to the peer's ingress gateway, by load balancers that pass TLS on.",
    ),
    Cause(
        "HandshakeFailed",
        REACHABLE,
        Side.BETWEEN,
        "The TLS handshake ended before a certificate was shown.",
        "see what stands between the gateways, and to the log of the peer's ingress gateway.",
    ),
    Cause(
        "UnknownRoot",
        REACHABLE,
        Side.HERE,
        "The certificate shown there does not lead to a root that is known here for the peer.",
        "compare the fingerprints of the peer's root and of that in the ConfigMap; put the peer's present root there.",
    ),
    Cause(
        "WrongTrustDomain",
        REACHABLE,
        Side.HERE,
        "The certificate shown there is of another trust domain than the resource says.",
        "correct spec.security.trustDomain, or spec.remote if it leads to another mesh.",
    ),
    Cause(
        "WrongIdentity",
        REACHABLE,
        Side.PEER,
        "Another workload of the peer's mesh answers there than the one that the peer names.",
        "correct what the peer exposes at this address: it must be its ingress gateway for this mesh.",
    ),
    Cause(
        "CertificateExpired",
        REACHABLE,
        Side.PEER,
        "The certificate shown there has expired.",
        "see why the peer's gateway does not renew its certificate, and to the clocks of both sides.",
    ),
    Cause(
        "CertificateNotYetValid",
        REACHABLE,
        Side.EITHER,
        "The certificate shown there is not valid yet.",
        "set the clocks of both sides.",
    ),
    Cause(
        "CertificateRefused",
        ADMITTED,
        Side.PEER,
        "The peer's ingress gateway refuses our gateway's certificate.",
        "put our root (ConfigMap istio-ca-root-cert) where the peer's ServiceMeshPeer for us says; or create that.",
    ),
    Cause(
        "ClientRefused",
        ADMITTED,
        Side.PEER,
        "The peer knows who we are, and its ServiceMeshPeer names somebody else (403).",
        "set spec.security.clientID of the peer's ServiceMeshPeer for us to our identity.",
    ),
    Cause(
        "NoPeerForUs",
        ADMITTED,
        Side.PEER,
        "The peer has no ServiceMeshPeer for us, or cannot use the one it has (400 or 404).",
        "create the peer's ServiceMeshPeer for us, with this ingress gateway, or see to its conditions.",
    ),
    Cause(
        "PeerControlPlaneDown",
        SYNCED,
        Side.PEER,
        "The peer's ingress gateway lets us in, and cannot reach the peer's control plane (503).",
        "see to the peer's control plane and its pods.",
    ),
    Cause(
        "ProtocolError",
        SYNCED,
        Side.PEER,
        "The peer answers something that is not the protocol; what was known of it is kept.",
        "see which version the peer runs, and what stands between the gateways; report it with the text.",
    ),
    Cause(
        "ClocksApart",
        SYNCED,
        Side.EITHER,
        "The clocks of the two control planes differ so much that certificates will be taken for invalid.",
        "set the clocks of both sides (NTP).",
    ),
    Cause(
        "ListNotReceived",
        SYNCED,
        Side.PEER,
        "The watch stands, and the peer's list of services has not come.",
        "look at the peer's control plane and its log.",
    ),
    Cause(
        "PeerNotReached",
        REACHABLE,
        Side.EITHER,
        "The watch of the peer does not stand, and no cause could be found.",
        "look at the logs of the control plane and of the egress gateway.",
    ),
    Cause(
        "RemoteUntrusted",
        REMOTE_CONNECTED,
        Side.HERE,
        "Somebody calls our ingress gateway for the peer, with a certificate that its roots do not vouch for.",
        "if it is the peer, put its present root into the ConfigMap.",
    ),
    Cause(
        "RemoteRefused",
        REMOTE_CONNECTED,
        Side.HERE,
        "Somebody calls our ingress gateway for the peer who is not the clientID of the resource.",
        "if it is the peer, set spec.security.clientID to the identity seen.",
    ),
    Cause(
        "RemoteNotConnected",
        REMOTE_CONNECTED,
        Side.PEER,
        "The peer does not watch us, and nothing of it was seen at our ingress gateway.",
        "look at the peer's ServiceMeshPeer for us: its conditions say how far its calls come.",
    ),
)
BY_REASON: Final = {cause.reason: cause for cause in CAUSES}
