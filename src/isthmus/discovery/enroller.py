"""The port of the discovery server for meshes that were invited: what it passes on of their messages.

Owned by the server, implemented by ``pilot``.
"""

from dataclasses import dataclass, field
from typing import Protocol

from isthmus.federation.enrolment import Answer
from isthmus.identity import SpiffeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One message, as it came."""

    authorization: str = field(repr=False)
    """The header of that name: the proof."""
    body: bytes
    """At most ``MAX_BODY_BYTES``."""
    caller: SpiffeId
    """The gateway that it came through."""
    source: str
    """Where it came from, by the word of that gateway."""


class Enroller(Protocol):
    """Decides on messages."""

    async def enrol(self, application: Application) -> Answer:
        """Grant or refuse; what is granted is done before the answer.

        Raises EnrolmentUnavailableError: it could not be done; nothing is known of it, ask again.
        """
