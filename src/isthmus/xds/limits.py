"""What one client may have open on a stream: what it says of itself must not fill our memory.

Pure, and checked by ``stream``. The numbers leave room for twenty thousand imports, each with a name as long as a
server name may be, and for a client that is busy for a while.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.xds.resource import DeltaRequest

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""Of one request, for the server that is given the service: a client that comes back names all that it wants and all
that it has at once, 500 bytes a resource; gRPC's own limit of 4 MiB would shut out one with ten thousand for good."""


class StreamLimitError(Exception):
    """A client has more open than a stream may hold; the stream has to be closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each; the message of the error tells the number."""

    types: int = 32
    """Types of resources; Envoy has some twelve."""
    names: int = 200_000
    """Names of one type that it subscribes to; beyond, those of which there is nothing are answered and forgotten. A
    peer can have an ingress gateway ask for as many names as it likes to make up, for other peers to bear with."""
    held: int = 1_000_000
    """Names, of all types, that it has, or waits to hear of."""
    characters: int = 1024
    """Of a name, a version and a type."""
    unanswered: int = 50_000
    """Responses that it has neither taken nor refused; Envoy answers each as soon as it has looked at it."""
    unanswered_names: int = 1_000_000
    """Names in these."""

    def check_request(self, request: DeltaRequest) -> None:
        """Raise StreamLimitError for a request with texts that are too long, or with too many of them."""
        _check("resources kept from an earlier stream", len(request.initial_versions), self.held)
        self._check_texts((request.type_url, *request.subscribe))
        self._check_texts(request.initial_versions.keys())
        self._check_texts(request.initial_versions.values())

    def check_subscriptions(self, *, types: int, held: int) -> None:
        """Raise StreamLimitError for a client that asks for too much."""
        _check("types subscribed to", types, self.types)
        _check("names sent or not yet looked at", held, self.held)

    def check_unanswered(self, *, responses: int, names: int) -> None:
        """Raise StreamLimitError for a client that does not answer."""
        _check("responses not acknowledged", responses, self.unanswered)
        _check("names in responses not acknowledged", names, self.unanswered_names)

    def _check_texts(self, texts: Iterable[str]) -> None:
        _check(
            "characters in the name, version or type of a resource", max(map(len, texts), default=0), self.characters
        )


LIMITS = Limits()


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise StreamLimitError(f"{count} {what}: a stream may have {most} at most")
