"""One HTTP/1.1 request on a connection of its own, client's side; h11 speaks, a channel moves the bytes."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import h11

USER_AGENT: Final = "isthmus-probe"
"""So that a peer can tell a try from the control plane's own calls."""
MAX_HEAD_BYTES: Final = 64 * 1024


class Channel(Protocol):
    """What moves bytes."""

    async def send(self, content: bytes) -> None: ...

    async def receive(self) -> bytes: ...


class NotHttpError(Exception):
    """What came is no answer in HTTP/1.1; the message is one line."""


class NoAnswerError(Exception):
    """The other end closed the connection and had not begun to answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first part of an answer."""

    status: int
    headers: dict[str, str]

    @property
    def status_line(self) -> str:
        """``503 Service Unavailable``."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


class Exchange:
    """A request, and its answer as far as it is wanted."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def ask(self, method: str, path: str, *, host: str, body: bytes | None = None) -> Head:
        """Send the request and wait for the head of the answer.

        Raises NotHttpError, NoAnswerError; OSError: the connection broke.
        """
        headers = [("host", host), ("user-agent", USER_AGENT), ("accept", "*/*"), ("connection", "close")]
        if body is not None:
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        request = self._http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        content = self._http.send(h11.Data(data=body)) if body else b""
        await self._channel.send(request + (content or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        event = await self._next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next_event()
        if not isinstance(event, h11.Response):
            raise NoAnswerError
        return Head(event.status_code, {key.decode("latin-1"): value.decode("latin-1") for key, value in event.headers})

    async def read(self, *, limit: int) -> bytes:
        """The body; raises NotHttpError: it is longer than ``limit`` or breaks off; OSError: the connection broke."""
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > limit:
                raise NotHttpError(f"the answer is longer than {limit} bytes")
        return bytes(body)

    async def _next_event(self) -> h11.Event:
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Event):
                    return event
                received = await self._channel.receive()
                if not received and self._http.their_state is h11.SEND_RESPONSE and not self._http.trailing_data[0]:
                    raise NoAnswerError
                self._http.receive_data(received)
        except h11.RemoteProtocolError as error:
            raise NotHttpError(str(error)[:200]) from error
