"""Plan: how old what we know of each peer is, and what that makes of its imports.

Nothing is taken away while a peer is away; after the time that the importer has chosen its imports turn unready. One
work queue, keyed by peer: a link that flaps costs one look, and a moment that was waited for another.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NoReturn

import structlog

from isthmus.federation.availability import Availability, ImportPolicy, availability
from isthmus.kube import WorkQueue
from isthmus.pilot.link import Link

log = structlog.get_logger(__name__)


class Staleness:
    """The availability of all peers; ``changed`` hears of a peer whose imports are current, stale or expired now."""

    def __init__(self, links: Mapping[str, Link], *, changed: Callable[[str], None]) -> None:
        """``links`` are the peers' links by name, live."""
        self._links = links
        self._changed = changed
        self._seen: dict[str, tuple[Availability, ImportPolicy]] = {}
        self._queue: WorkQueue[str] = WorkQueue("staleness", facts=lambda peer: {"peer": peer})

    @property
    def queue(self) -> WorkQueue[str]:
        """What waits to be looked at."""
        return self._queue

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        await self._queue.run(self._look)

    def link_changed(self, peer: str) -> None:
        """The link fares differently, or its importer has chosen otherwise."""
        self._queue.add(peer)

    async def _look(self, peer: str) -> timedelta | None:
        link = self._links.get(peer)
        if link is None:
            self._seen.pop(peer, None)
            return None
        state, again = availability(link.absence.lasts, link.policy)
        if state is not link.availability:
            log.info(
                "imports changed their age", peer=peer, state=state.value, away_since=str(link.absence.since or "")
            )
            link.availability = state
        if self._seen.get(peer) != (state, link.policy):
            self._seen[peer] = state, link.policy
            self._changed(peer)
        return again
