"""What was sent to clients, and how long they took to take it: the port by which a server's owner can count.

A push is one response with resources or removals. It is timed from the moment when what it tells had changed, or was
asked for, to the client's ACK or NACK: that long a client may have worked by what held before.
"""

from typing import Protocol

from isthmus.xds.resource import DeltaRequest, DeltaResponse


class PushListener(Protocol):
    """Hears of pushes. Owned by the server, implemented by its user; every method returns at once."""

    def pushed(self, client: str, type_url: str) -> None:
        """A response was sent."""

    def settled(self, client: str, type_url: str, *, seconds: float, is_rejected: bool) -> None:
        """A response was acknowledged or refused, so long after what it tells was news."""


class Nobody:
    """A listener that counts nothing."""

    def pushed(self, client: str, type_url: str) -> None:
        """Ignore it."""

    def settled(self, client: str, type_url: str, *, seconds: float, is_rejected: bool) -> None:
        """Ignore it."""


class PushClock:
    """The pushes of one stream that are on their way; driven by hand, with the time as an argument."""

    def __init__(self, client: str, listener: PushListener) -> None:
        self._client = client
        self._listener = listener
        self._news_at: float | None = None
        self._in_flight: dict[str, tuple[str, float]] = {}  # type and time by nonce, of what is not answered yet

    def news(self, now: float) -> None:
        """There is something to send; the first news since the last response counts."""
        if self._news_at is None:
            self._news_at = now

    def sent(self, responses: list[DeltaResponse], now: float) -> None:
        """All that was news has been sent in these responses."""
        since = now if self._news_at is None else self._news_at
        self._news_at = None
        for response in responses:
            self._in_flight[response.nonce] = response.type_url, since
            self._listener.pushed(self._client, response.type_url)

    def received(self, request: DeltaRequest, now: float) -> None:
        """The client has said something; perhaps its answer to a response."""
        type_url, since = self._in_flight.pop(request.nonce, ("", 0.0))
        if type_url:
            rejected = bool(request.error)
            self._listener.settled(self._client, type_url, seconds=now - since, is_rejected=rejected)
