"""What can go wrong in discovery, grouped by what the caller can do about it.

DiscoveryError
├── LinkError            a call to a peer did not succeed: what is known stays, try again later
│   ├── OwnGatewayError      it has not even left the mesh: our own egress gateway cannot be called
│   └── UnsentError          … and nothing of it has left us
├── RefusedError         a call of a peer is not answered
│   ├── UnknownPeerError     nobody here knows a peer of that name
│   └── ForbiddenError       the caller may not speak for that peer
└── EnrolmentUnavailableError   an enrolment can be neither granted nor refused now: ask again
"""


class DiscoveryError(Exception):
    """Base of everything that this room raises."""


class LinkError(DiscoveryError):
    """A call did not succeed; the text is an HTTP status line or the cause in words, fit for a resource's status."""


class OwnGatewayError(LinkError):
    """Our own egress gateway does not answer, or is not who it should be: nothing is said of the peer."""


class UnsentError(LinkError):
    """There was no connection to who should have been called, so that nothing was sent."""


class RefusedError(DiscoveryError):
    """A call is not answered; the text may be told to the caller."""


class UnknownPeerError(RefusedError):
    """There is no ServiceMeshPeer of that name here."""


class ForbiddenError(RefusedError):
    """The caller's identity is not the one that may speak for the peer."""


class EnrolmentUnavailableError(DiscoveryError):
    """The control plane could not do what an enrolment asks for; the text may be told to the caller."""
