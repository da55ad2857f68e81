"""Gathers what is known of a link at one moment, for ``federation.peer_conditions`` to judge.

Reads the stores, the gateways, the reports and the link; decides nothing, keeps nothing.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from isthmus.clock import CLOCK
from isthmus.federation.peer import PeerConfig
from isthmus.federation.peer_conditions import GatewayFacts, PeerFacts
from isthmus.federation.status import DiscoveryStatus
from isthmus.kube import ObjectKey
from isthmus.pilot.callers import Callers
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.gateways import Gateways
from isthmus.pilot.link import Link

UNCONNECTED_S: Final = 5.0
"""A gateway comes back to its control plane within three seconds; after these it is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactFinder:
    """Where to look."""

    cluster: Cluster
    gateways: Gateways
    callers: Callers
    links: Mapping[str, Link]
    started_at: float
    """When this process began, by the monotonic clock."""

    def peer_facts(self, link: Link, discovery: DiscoveryStatus) -> PeerFacts:
        """What is known of a link now; ``discovery`` has what all replicas see."""
        now = time.monotonic()
        seen, config = link.evidence, link.config
        if config is None:
            return PeerFacts(refusal=link.refusal, stale=self.stale())
        return PeerFacts(
            stale=self.stale(),
            bundle=config.remote.bundle,
            client=str(config.client),
            gateways=self._gateways(config, link, alone=len(discovery.entries) < 2, now=now),
            is_watching=link.entry.watch.connected,
            watch_failure=seen.watch_failure,
            diagnosis=seen.diagnosis or seen.calls,
            is_settled=not seen.unsettles_for_s(now),
            is_listed=seen.is_listed,
            doubt=seen.doubt,
            clock_offset_s=seen.clock_offset_s(CLOCK),
            remotes=tuple(each.source for entry in discovery.entries for each in entry.remotes if each.connected),
            refused=self.callers.refused(config.ingress, others=self._others(config), after=seen.remote_left_at),
        )

    def unsettles_for_s(self, link: Link) -> float:
        """How long it is until what is missing of a link and of its gateways is missed; 0 if it is now."""
        now, config = time.monotonic(), link.config
        names = {config.ingress, config.egress} if config is not None else set()
        gateways = (self._left_at(name) + UNCONNECTED_S - now for name in names if not self.gateways.streams.get(name))
        return max(0.0, link.evidence.unsettles_for_s(now), *gateways)

    def stale(self) -> str:
        """Which kinds of our own cluster cannot be followed, and since when; empty if all can."""
        stale = {kind: store.stale_since for kind, store in self.cluster.stores.items()}
        since = {kind: each for kind, each in stale.items() if each is not None}
        if not since:
            return ""
        kinds, first = ", ".join(sorted(since)), min(since.values())
        return f"{kinds} cannot be followed since {first:%Y-%m-%dT%H:%M:%SZ}: what is known is as old as that"

    def _gateways(self, config: PeerConfig, link: Link, *, alone: bool, now: float) -> tuple[GatewayFacts, ...]:
        ingress = self._gateway(config.ingress, alone=alone, now=now)
        egress = self._gateway(config.egress, alone=alone, now=now, failure=link.evidence.gateway_failure)
        return ingress, egress

    def _gateway(self, name: str, *, alone: bool, now: float, failure: str = "") -> GatewayFacts:
        """``alone``: no other replica can have the gateway's stream."""
        streams = self.gateways.streams.get(name, 0)
        is_missed = alone and now - self._left_at(name) > UNCONNECTED_S
        return GatewayFacts(
            name=name,
            exists=self.cluster.services.get(ObjectKey(self.cluster.namespace, name)) is not None,
            ready_pods=len(self.cluster.pod_addresses(name)),
            configured_pods=streams if is_missed else max(1, streams),
            rejection=self.gateways.rejection(name),
            failure=failure,
        )

    def _left_at(self, name: str) -> float:
        return max(self.gateways.left_at(name), self.started_at)

    def _others(self, config: PeerConfig) -> frozenset[str]:
        """The identities of the other peers of the same ingress gateway: who is refused is none of them."""
        configs = [link.config for link in self.links.values() if link.config is not None]
        return frozenset(
            str(each.client) for each in configs if each.name != config.name and each.ingress == config.ingress
        )
