"""The port of the discovery server: what it must be told about peers, and what it tells of them.

Owned by the server, implemented by ``pilot``. Every method is called in the server's loop and returns at once.
"""

from dataclasses import dataclass
from typing import Protocol

from isthmus.discovery.feed import ExportFeed
from isthmus.discovery.tally import Tally
from isthmus.federation.messages import LinkView
from isthmus.identity import SpiffeId, TrustBundle


class ExportedLink(Protocol):
    """One peer, seen from the side that exports to it."""

    @property
    def feed(self) -> ExportFeed:
        """What is exported to the peer, and who watches it."""

    @property
    def tally(self) -> Tally:
        """Where it is counted what the peer is sent."""

    @property
    def trust_bundle(self) -> TrustBundle:
        """The roots of our mesh, as the peer is to know them."""

    def view(self) -> LinkView:
        """What we see of this link, for the peer's administrator."""

    def remote_connected(self, source: str) -> None:
        """A watch from ``source`` is open; told for the first of several at the same time."""

    def remote_got_event(self, source: str) -> None:
        """Changes were sent to ``source``."""

    def remote_got_list(self, source: str) -> None:
        """The list was sent to ``source``."""

    def remote_disconnected(self, source: str) -> None:
        """No watch from ``source`` is open any more."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a gateway of ours, by its certificate, and on whose behalf, as the gateway has authenticated it."""

    gateway: SpiffeId
    client: SpiffeId | None
    """None if the gateway does not say."""


class Exporter(Protocol):
    """Knows the peers."""

    def link(self, peer: str, caller: Caller) -> ExportedLink:
        """The link to ``peer``, if ``caller`` may speak for it.

        Raises UnknownPeerError: there is no such peer; ForbiddenError: it is not ``caller`` who speaks for it.
        """
