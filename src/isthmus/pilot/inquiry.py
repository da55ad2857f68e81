"""Finds out why a link is down, by having its egress gateway try the way: the leader's task, while it is down.

One work queue, keyed by peer. A probe is made again every few seconds, so that another cause is told in time; that it
found the same once more is no news to anyone. Nothing is tried while the watch stands.
"""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, NoReturn

import structlog

from isthmus.federation.link_causes import Diagnosis, link_diagnosis
from isthmus.federation.peer import PeerConfig
from isthmus.kube import WorkQueue
from isthmus.pilot.facts import FactFinder
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.probes import Probes
from isthmus.probe import AgentError

log = structlog.get_logger(__name__)

AGAIN: Final = timedelta(seconds=3)
"""Between two probes of a link that is down: a new cause is told within five seconds."""
CALLS_AGAIN: Final = timedelta(seconds=30)
"""Between two probes of the port for services while nothing is wrong with it."""
PROBES_AT_ONCE: Final = 32
OWN_CLUSTER: Final = ""
"""The key under which our own cluster is looked at; no peer has an empty name."""


class Inquiry:
    """The causes of all links that are down; ``changed`` hears of a peer of which something else is known."""

    def __init__(
        self,
        links: Mapping[str, Link],
        leadership: Leadership,
        *,
        facts: FactFinder,
        probes: Probes,
        changed: Callable[[str], None],
    ) -> None:
        """``links`` are the peers' links by name, live."""
        self._links = links
        self._leadership = leadership
        self._facts = facts
        self._probes = probes
        self._changed = changed
        self._stale = ""
        self.queue: WorkQueue[str] = WorkQueue("inquiry", facts=_facts_of)
        leadership.subscribe(self._lead_changed)

    async def run(self) -> NoReturn:
        """Inquire until cancelled."""
        self.queue.add(OWN_CLUSTER)
        await self.queue.run(self._look, workers=PROBES_AT_ONCE)

    def link_changed(self, peer: str) -> None:
        """The link fares differently."""
        self.queue.add(peer)

    def call_failed(self, peer: str) -> None:
        """A call of a service did not reach the peer."""
        if peer in self._links:
            self.queue.add(peer)

    def gateway_changed(self, name: str) -> None:
        """A gateway has come, gone, or taken its configuration or not; or someone was refused at it."""
        for peer, link in self._links.items():
            if link.config is not None and name in {link.config.ingress, link.config.egress}:
                self._changed(peer)
                self.queue.add(peer)

    def _lead_changed(self) -> None:
        for peer in self._links:
            self.queue.add(peer)

    async def _look(self, peer: str) -> timedelta | None:
        if peer == OWN_CLUSTER:
            return self._look_at_own_cluster()
        link = self._links.get(peer)
        if link is None or not self._leadership.is_leading:
            return None
        unsettled_s = self._facts.unsettles_for_s(link)
        if link.config is not None and self._is_down(link):
            await self._inquire(link, link.config)
            return AGAIN
        if not unsettled_s:
            self._changed(peer)  # what is missing now is missed
        again = await self._inquire_calls(link)
        return min(again, timedelta(seconds=unsettled_s + 0.05)) if unsettled_s else again

    def _look_at_own_cluster(self) -> timedelta:
        stale = self._facts.stale()
        if bool(stale) != bool(self._stale):
            for peer in self._links:
                self._changed(peer)
        self._stale = stale
        return AGAIN

    @staticmethod
    def _is_down(link: Link) -> bool:
        return bool(link.evidence.watch_failure) and not link.evidence.gateway_failure

    async def _inquire(self, link: Link, config: PeerConfig) -> None:
        try:
            found = link_diagnosis(await self._probes.way(config), self._probes.expected(config))
        except AgentError as error:
            log.debug("peer cannot be probed", peer=link.peer, reason=str(error))
            found = None
        if link.config is config and self._is_down(link):
            self._note(link, found)

    async def _inquire_calls(self, link: Link) -> timedelta:
        """Try the port for services of a peer whose watch stands; a moment ago is as good as now."""
        service = next(iter(link.known), None)
        left_s = link.evidence.called_at + AGAIN.total_seconds() - time.monotonic()
        if link.config is None or service is None or not self._can_be_called(link):
            return CALLS_AGAIN
        if left_s > 0:
            return timedelta(seconds=left_s)
        link.evidence.called_at = time.monotonic()
        config, found = link.config, None
        try:
            found = link_diagnosis(await self._probes.calls(config, service), self._probes.expected(config))
        except AgentError as error:
            log.debug("port for services cannot be probed", peer=link.peer, reason=str(error))
        if link.config is config and self._can_be_called(link) and found != link.evidence.calls:
            link.evidence.calls = found
            if found is not None:
                log.warning("calls do not arrive", peer=link.peer, reason=found.reason, message=found.message)
            self._changed(link.peer)
        return CALLS_AGAIN if found is None else AGAIN

    @staticmethod
    def _can_be_called(link: Link) -> bool:
        """Whether the link is up, with a peer of our make: another has no place for a name that is not exported."""
        return link.entry.watch.connected and link.evidence.is_listed and link.evidence.peer_clock_s is not None

    def _note(self, link: Link, found: Diagnosis | None) -> None:
        if found != link.evidence.diagnosis:
            link.evidence.diagnosis = found
            if found is not None:
                log.warning("link is down", peer=link.peer, reason=found.reason, message=found.message)
        self._changed(link.peer)


def _facts_of(key: str) -> dict[str, str]:
    """What a line of the log says of a key."""
    return {} if key == OWN_CLUSTER else {"peer": key}
