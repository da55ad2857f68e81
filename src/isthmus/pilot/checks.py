"""Serve: checks of a link that an administrator asks for, by an annotation of its ServiceMeshPeer.

The leader answers: its gateways try the way to the peer, the peer is asked how it sees the link, and a request goes to
an import, all at once; what came of it is ``status.check``, with the value of the annotation. Level-triggered: a value
that has no answer yet gets one, whichever pod leads by then.
Source: docs/adr/0014-checks-are-asked-for-in-the-resource.md.
"""

import asyncio
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

import msgspec
import structlog

from isthmus.api import ServiceMeshPeer
from isthmus.api.check import Check, CheckStep, PeerView
from isthmus.discovery import LinkError
from isthmus.federation.checks import CheckFacts, PathFindings, check_steps, left
from isthmus.federation.findings import ProbeReport
from isthmus.federation.link_causes import link_diagnosis
from isthmus.federation.messages import LinkView, MalformedMessageError
from isthmus.federation.names import CHECK_ANNOTATION, outbound_sni
from isthmus.federation.peer import PeerConfig
from isthmus.federation.peer_conditions import PeerFacts, peer_conditions
from isthmus.federation.status import DiscoveryStatus, from_json
from isthmus.federation.workload import Workload, WorkloadPort
from isthmus.kube import Change, Client, ObjectKey, WorkQueue
from isthmus.kube.errors import NotFound
from isthmus.kube.wire import collection_path
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.facts import FactFinder
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.probes import Probes
from isthmus.pilot.standing import jsonable
from isthmus.pilot.workloads import Workloads
from isthmus.probe import AgentError, RequestOrder

log = structlog.get_logger(__name__)

CHECKS_AT_ONCE: Final = 8
VIEW_TIMEOUT_S: Final = 4.0
REQUEST_TIMEOUT_S: Final = 12.0
"""Longer than a connection on which nothing comes must stay open to count (``probe.prober.OPEN_FOR_S``)."""
CATCH_UP_S: Final = 2.0
"""So long a link whose way is open is waited for."""
SETTLE_S: Final = 0.5
"""After which the peer is asked once more, if its lists and ours differ: what has just changed is on its way."""
_NONCE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HTTP: Final = ("HTTP", "GRPC", "HTTP2")
"""Protocols that answer at once, the best to try first; of others one only sees after seconds that they stay open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a check is made with."""

    cluster: Cluster
    facts: FactFinder
    probes: Probes
    workloads: Workloads


class Checks:
    """Answers each question once."""

    def __init__(self, client: Client, tools: Tools, leadership: Leadership, *, pod: str) -> None:
        self._client = client
        self._tools = tools
        self._leadership = leadership
        self._pod = pod
        self._answered: dict[str, str] = {}
        self.queue: WorkQueue[str] = WorkQueue("checks", facts=lambda peer: {"peer": peer})
        leadership.subscribe(self._lead_changed)

    async def run(self) -> NoReturn:
        """Answer until cancelled."""
        self._tools.cluster.peers.subscribe(self._peer_changed)
        await self.queue.run(self._answer, workers=CHECKS_AT_ONCE)

    def _lead_changed(self) -> None:
        for key in self._tools.cluster.peers.keys():  # noqa: SIM118  (a view)
            self.queue.add(key.name)

    def _peer_changed(self, change: Change[ServiceMeshPeer]) -> None:
        if change.new is None:
            self._answered.pop(change.key.name, None)
        elif self._question(change.new) is not None:
            self.queue.add(change.key.name)

    def _question(self, peer: ServiceMeshPeer) -> str | None:
        """The value of the annotation, if it waits for an answer."""
        name = peer.metadata.name or ""
        nonce = (peer.metadata.annotations or {}).get(CHECK_ANNOTATION, "")
        answered = peer.status.check if peer.status is not None else None
        known = {self._answered.get(name), answered.nonce if answered is not None else None}
        return nonce if _NONCE.fullmatch(nonce) and nonce not in known else None

    async def _answer(self, name: str) -> timedelta | None:
        key = ObjectKey(self._tools.cluster.namespace, name)
        peer, link = self._tools.cluster.peers.get(key), self._tools.facts.links.get(name)
        nonce = self._question(peer) if peer is not None and self._leadership.is_leading else None
        if peer is None or nonce is None:
            return None
        if link is None:
            return timedelta(seconds=0.2)  # it is new, and its turn comes
        facts = await self._find_out(peer, link)
        steps = check_steps(facts)
        check = Check(nonce=nonce, time=_now(), pod=self._pod, steps=steps, peer_view=_shown(facts.view))
        await self._write(key, check)
        self._answered[name] = nonce
        log.info("link checked", peer=name, failed=_failed(steps))
        return None

    async def _write(self, key: ObjectKey, check: Check) -> None:
        path = f"{collection_path(ServiceMeshPeer, namespace=key.namespace)}/{key.name}/status"
        patch = msgspec.json.encode({"status": {"check": check}})
        try:
            await self._client.merge(path, patch, doing=f"write the check of ServiceMeshPeer {key}")
        except NotFound:
            log.info("peer gone while it was checked", peer=key.name)

    async def _find_out(self, peer: ServiceMeshPeer, link: Link) -> CheckFacts:
        config = link.config
        if config is None:
            why = "the resource cannot be used"
            return replace(self._known(peer, link), why_not_probed=why, path=PathFindings(why_not=why))
        async with asyncio.TaskGroup() as tasks:
            way = tasks.create_task(self._way(config, link), name=f"way to {link.peer}")
            path = tasks.create_task(self._path(config), name=f"request to {link.peer}")
            view = tasks.create_task(_view_of(link), name=f"view of {link.peer}")
        probe, why_not_probed = way.result()
        seen, why_no_view = view.result()
        if seen is not None and not _agree(seen, link):
            await asyncio.sleep(SETTLE_S)
            seen, why_no_view = await _view_of(link)
        return replace(
            self._known(peer, link),
            expected=self._tools.probes.expected(config),
            probe=probe,
            why_not_probed=why_not_probed,
            view=seen,
            why_no_view=why_no_view,
            path=path.result(),
        )

    async def _way(self, config: PeerConfig, link: Link) -> tuple[ProbeReport | None, str]:
        """The way as the gateway finds it; if it is open, the link has a moment to come up."""
        try:
            report = await self._tools.probes.way(config)
        except AgentError as error:
            return None, str(error)
        if all(attempt.fault is None for attempt in report.attempts) and link.client is not None:
            link.client.nudge()
            deadline = asyncio.get_running_loop().time() + CATCH_UP_S
            while not link.entry.watch.connected and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return report, ""

    async def _path(self, config: PeerConfig) -> PathFindings:
        """A request to an import, through the gateways of both meshes."""
        chosen = chosen_target(self._tools.workloads.callable(config.name))
        if chosen is None:
            return PathFindings(why_not="nothing that is ready is imported from the peer, so there is nothing to call")
        workload, port = chosen
        name = f"{workload.imported.called.hostname}:{port.port}"
        order = RequestOrder(
            gateway_port=port.gateway_port,
            protocol=port.protocol,
            host=workload.imported.called.hostname,
            timeout_s=REQUEST_TIMEOUT_S,
        )
        probes = self._tools.probes
        try:
            report = await probes.client(config.egress).request(order)
            if report.fault is None:
                return PathFindings(name=name, report=report)
            message = workload.imported.service
            tried = await probes.call_of(config, message, outbound_sni(message.hostname, port.port))
        except AgentError as error:
            return PathFindings(name=name, why_not=str(error))
        return PathFindings(name=name, report=report, diagnosis=link_diagnosis(tried, probes.expected(config)))

    def _known(self, peer: ServiceMeshPeer, link: Link) -> CheckFacts:
        """What need not be tried."""
        facts = self._tools.facts.peer_facts(link, _discovery(peer, link))
        # What is known of calls is of before; that step tries anew.
        facts = replace(facts, diagnosis=link.evidence.diagnosis)
        now = _now()
        return CheckFacts(
            conditions={each.type: each for each in peer_conditions(facts, now=now)},
            figures=self._figures(link, facts, now),
            known=len(link.known) if link.is_synced else None,
            imported=len(link.imports.imports),
            exported=len(link.feed) if link.config is not None else 0,
            now=now,
        )

    def _figures(self, link: Link, facts: PeerFacts, now: datetime) -> dict[str, str]:
        key = ObjectKey(self._tools.cluster.namespace, link.peer)
        exports, imports = self._tools.cluster.exports.get(key), self._tools.cluster.imports.get(key)
        rules = (exports.spec.export_rules if exports else None) or ()
        wanted = (imports.spec.import_rules if imports else None) or ()
        roots = facts.bundle.roots if facts.bundle is not None else ()
        return {
            "resources": f"export rules: {len(rules)}, import rules: {len(wanted)}",
            "trust": f"roots: {len(roots)}, the first {left(min(each.not_valid_after_utc for each in roots), now)}"
            if roots
            else "",
            "gateways": ", ".join(f"{each.name}: {each.ready_pods} ready" for each in facts.gateways),
            "remote": f"watched from {', '.join(facts.remotes)}",
        }


def chosen_target(workloads: Iterable[Workload]) -> tuple[Workload, WorkloadPort] | None:
    """The port to try: one that answers at once if there is any, and always the same of the same imports."""
    ports = [(workload, port) for workload in workloads for port in workload.ports]
    return min(ports, key=lambda each: (_rank(each[1]), each[0].imported.called.hostname, each[1].port), default=None)


def _rank(port: WorkloadPort) -> int:
    protocol = port.protocol.upper()
    return _HTTP.index(protocol) if protocol in _HTTP else len(_HTTP)


async def _view_of(link: Link) -> tuple[LinkView | None, str]:
    """How the peer sees the link, or why that is not known."""
    if link.client is None:
        return None, "the peer is not called yet"
    try:
        async with asyncio.timeout(VIEW_TIMEOUT_S):
            view = await link.client.link_view()
    except TimeoutError:
        return None, f"the peer has not told how it sees the link within {VIEW_TIMEOUT_S:g} s"
    except (LinkError, MalformedMessageError) as error:
        return None, f"the peer does not tell how it sees the link: {error}"
    return view, "" if view is not None else "the peer does not tell how it sees the link: it is of another make"


def _agree(view: LinkView, link: Link) -> bool:
    return view.exports == len(link.known) and view.knows in {None, len(link.feed)}


def _discovery(peer: ServiceMeshPeer, link: Link) -> DiscoveryStatus:
    """What all replicas see, as far as it stands in the resource."""
    stored = peer.status.discovery_status if peer.status is not None else None
    return from_json(jsonable(stored)).merged(link.entry)


def _shown(view: LinkView | None) -> PeerView | None:
    if view is None:
        return None
    return PeerView(
        peer=view.peer,
        client_id=view.client_id,
        sources=view.sources[:20],
        exports=view.exports,
        knows=view.knows,
        imports=view.imports,
        last_error=view.last_error,
    )


def _failed(steps: Collection[CheckStep]) -> list[str]:
    return [f"{step.name}: {step.cause}" for step in steps if step.result == "failed"]


def _now() -> datetime:
    return datetime.now(UTC)
