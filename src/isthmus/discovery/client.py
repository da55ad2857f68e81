"""The client of one peer: keeps a watch open, and what the peer exports up to date.

What to do when is ``federation.peer_view``'s; here is when to connect, and how the link fares as a whole. A change of
the peer's resource means a new client. Source: docs/protocol.md §1 and §2.
"""

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from isthmus.discovery.bundle_document import MAX_BUNDLE_BYTES
from isthmus.discovery.errors import LinkError
from isthmus.discovery.exchange import Route, call
from isthmus.discovery.link import CLOCK_AGAIN_S, Link
from isthmus.discovery.report import LinkReport, PeerListener
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import MAX_EVENT_BYTES, LinkView, ServiceMessage, parse_link_view
from isthmus.federation.peer_view import PeerView

SHORT_TIMEOUT_S: Final = 5.0


class PeerClient:
    """One peer's exports; ``seed`` is what was known of them before, ``clock_again_s`` how often the peer is
    asked for its time.

    Nothing happens before :meth:`run`, and everything ends at once when that is cancelled.
    """

    def __init__(
        self,
        route: Route,
        listener: PeerListener,
        *,
        seed: Iterable[ServiceMessage] = (),
        clock_again_s: float = CLOCK_AGAIN_S,
    ) -> None:
        self._route = route
        self._view = PeerView(seed)
        self._report = LinkReport(route.peer, listener)
        self._nudged = asyncio.Event()
        self._attempt = 0
        self._clock_again_s = clock_again_s

    @property
    def known(self) -> Catalogue:
        """What the peer exports, as last known; read it, do not change it."""
        return self._view.known

    @property
    def is_connected(self) -> bool:
        return self._view.is_connected

    @property
    def mismatches(self) -> int:
        """How often what the peer told did not match its own checksum, since this client was made."""
        return self._view.mismatches

    @property
    def certificate_ends(self) -> float | None:
        """When the certificate ends that the peer had when the watch was opened last, in seconds since 1970.

        None if our gateway has not told. The peer has most likely renewed it before.
        """
        return self._report.certificate_ends

    def nudge(self) -> None:
        """Connect now instead of waiting for the next attempt, because something says that it may succeed."""
        if not self.is_connected:
            self._nudged.set()

    async def run(self) -> None:
        """Follow the peer until cancelled."""
        while True:
            self._nudged.clear()
            self._report.failed(await self._connect_and_follow())
            self._attempt += 1
            reconnect = self._view.disconnected(
                asyncio.get_running_loop().time(),
                jitter=random.random(),  # noqa: S311  (spreads load, guards nothing)
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(reconnect.delay_s):
                    await self._nudged.wait()

    async def link_view(self) -> LinkView | None:
        """The peer's view of this link; None if it is too old to tell. Raises LinkError, MalformedMessageError."""
        body = await self._ask("/v1/peer", limit=MAX_EVENT_BYTES)
        return None if body is None else parse_link_view(body)

    async def trust_bundle(self) -> bytes | None:
        """The peer's roots as it publishes them (``parse_trust_bundle`` reads them); None if it does not.

        Raises LinkError.
        """
        return await self._ask("/v1/trustbundle", limit=MAX_BUNDLE_BYTES)

    async def _connect_and_follow(self) -> LinkError:
        """Why the link ended, or did not come to be."""
        try:
            async with call(self._route, "/v1/watch", attempt=self._attempt) as watch:
                if watch.status != 200:
                    return LinkError(watch.status_line)
                await Link(
                    self._route,
                    watch,
                    self._view,
                    report=self._report,
                    attempt=self._attempt,
                    clock_again_s=self._clock_again_s,
                ).follow()
        except LinkError as error:
            return error

    async def _ask(self, path: str, *, limit: int) -> bytes | None:
        async with call(self._route, path, attempt=self._attempt) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise LinkError(answer.status_line)
            return await answer.read_all(limit=limit, timeout_s=SHORT_TIMEOUT_S)
