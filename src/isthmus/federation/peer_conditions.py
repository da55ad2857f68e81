"""How a link to a peer fares, as the conditions of its ServiceMeshPeer: from facts to verdicts.

Pure: the facts of one moment in, conditions out; who gathers the facts and writes the conditions is ``pilot``. Each
verdict rests on evidence (a watch that stands, a list that came, a call that was tried), none on a flag. A condition
whose turn has not come, because one before it does not hold, is Unknown. Source: docs/conditions.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from isthmus.api.meta import Condition
from isthmus.federation.causes import (
    ACCEPTED,
    ADMITTED,
    BY_REASON,
    GATEWAYS_READY,
    PEER_CONDITIONS,
    REACHABLE,
    READY,
    REMOTE_CONNECTED,
    SYNCED,
    TRUST_RESOLVED,
)
from isthmus.federation.link_causes import Diagnosis
from isthmus.federation.selection import Problem
from isthmus.identity import TrustBundle

CLOCKS_APART_S: Final = 60.0
"""From this difference on certificates that were just issued will be refused here or there."""
MAX_MESSAGE_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """One of the two gateways that the resource names."""

    name: str
    exists: bool
    ready_pods: int = 0
    configured_pods: int = 0
    """Pods that take their configuration from this control plane."""
    rejection: str = ""
    """Why it keeps an older configuration, in Envoy's words."""
    failure: str = ""
    """Why this control plane cannot call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCaller:
    """Somebody whom our ingress gateway has refused; ``identity`` is empty where its certificate proves none."""

    gateway: str
    source: str
    identity: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What is known of a link at one moment."""

    refusal: Problem | None = None
    """Why the resource cannot be used."""
    stale: str = ""
    """Why and since when our own cluster cannot be followed."""
    bundle: TrustBundle | None = None
    """The peer's roots."""
    client: str = ""
    """The one identity that may call us."""
    gateways: tuple[GatewayFacts, ...] = ()
    is_watching: bool = False
    watch_failure: str = ""
    """Why the watch does not stand, as discovery tells it."""
    diagnosis: Diagnosis | None = None
    """Why it does not stand, or why calls of services do not arrive, as far as trying has shown."""
    is_settled: bool = True
    """Whether enough time has passed since something changed for what is missing to be missed."""
    is_listed: bool = False
    """Whether the peer's list has come since the watch was opened."""
    doubt: str = ""
    """What the peer said that could not be understood."""
    clock_offset_s: float | None = None
    """How far the peer's clock is ahead of ours."""
    remotes: tuple[str, ...] = ()
    """Where the peer's control plane watches us from."""
    refused: RefusedCaller | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def peer_conditions(facts: PeerFacts, *, now: datetime) -> tuple[Condition, ...]:
    """All conditions of a ServiceMeshPeer, Ready last; generations and times are for ``conditions.settled``."""
    verdicts = {ACCEPTED: _accepted(facts), TRUST_RESOLVED: _trust(facts, now)}
    usable = all(each.status != "False" for each in verdicts.values()) and facts.bundle is not None
    judges = {
        GATEWAYS_READY: _gateways,
        REACHABLE: _reachable,
        ADMITTED: _admitted,
        SYNCED: _synced,
        REMOTE_CONNECTED: _remote,
    }
    for type_, judge in judges.items():
        verdicts[type_] = judge(facts) if usable else _waiting("the resource cannot be used")
    ordered = [(type_, verdicts[type_]) for type_ in PEER_CONDITIONS]
    return tuple(_condition(type_, verdict) for type_, verdict in [*ordered, (READY, _ready(ordered))])


def _condition(type_: str, verdict: _Verdict) -> Condition:
    return Condition(
        type=type_, status=verdict.status, reason=verdict.reason, message=verdict.message[:MAX_MESSAGE_LENGTH]
    )


def _ready(verdicts: Sequence[tuple[str, _Verdict]]) -> _Verdict:
    """What is wrong first; what is not known yet counts only where nothing is wrong."""
    for wanted in ("False", "Unknown"):
        for type_, verdict in verdicts:
            if verdict.status == wanted:
                return _Verdict("False", verdict.reason, f"{type_}: {verdict.message}")
    return _Verdict("True", READY, "Both control planes follow each other, through the gateways of both meshes.")


def _fails(reason: str, seen: str) -> _Verdict:
    return _Verdict("False", reason, BY_REASON[reason].told(seen))


def _diagnosed(diagnosis: Diagnosis) -> _Verdict:
    return _Verdict("False", diagnosis.reason, diagnosis.message)


def _waiting(why: str) -> _Verdict:
    return _Verdict("Unknown", "Waiting", f"Not known: {why}.")


def _connecting(cause: str = "") -> _Verdict:
    return _Verdict("Unknown", "Connecting", f"Being tried{f': {cause}' if cause else ''}.")


def _accepted(facts: PeerFacts) -> _Verdict:
    if facts.refusal is not None and _concerns(facts.refusal, ACCEPTED):
        return _Verdict("False", facts.refusal.reason, facts.refusal.message)
    if facts.stale:
        return _Verdict("Unknown", "KubernetesUnreachable", BY_REASON["KubernetesUnreachable"].told(facts.stale))
    return _Verdict("True", ACCEPTED, "All of it is carried out.")


def _concerns(problem: Problem, type_: str) -> bool:
    cause = BY_REASON.get(problem.reason)
    return (cause.condition if cause is not None else ACCEPTED) == type_


def _trust(facts: PeerFacts, now: datetime) -> _Verdict:
    if facts.refusal is not None:
        is_about_trust = _concerns(facts.refusal, TRUST_RESOLVED)
        why = facts.refusal
        return (
            _Verdict("False", why.reason, why.message) if is_about_trust else _waiting("the resource is not accepted")
        )
    if facts.bundle is None:
        return _connecting()
    expired = facts.bundle.expired(now)
    told = ", ".join(facts.bundle.fingerprints())
    if len(expired) == len(facts.bundle.roots):
        last = max(root.not_valid_after_utc for root in expired)
        return _fails("RootExpired", f"Root {told} of {facts.bundle.trust_domain} expired at {last:%Y-%m-%dT%H:%M:%SZ}")
    return _Verdict("True", "RootsKnown", f"{facts.bundle.trust_domain} is vouched for by {told}.")


def _gateways(facts: PeerFacts) -> _Verdict:
    for gateway in facts.gateways:
        verdict = _gateway(gateway)
        if verdict is not None:
            return verdict
    names = " and ".join(dict.fromkeys(gateway.name for gateway in facts.gateways))
    return _Verdict("True", GATEWAYS_READY, f"{names} run and have their configuration.")


def _gateway(gateway: GatewayFacts) -> _Verdict | None:
    if not gateway.exists:
        return _fails("GatewayNotFound", f"There is no Service {gateway.name} beside this control plane")
    if not gateway.ready_pods:
        return _fails("GatewayNotReady", f"Gateway {gateway.name} has no ready pod")
    if gateway.rejection:
        return _fails("ConfigurationRejected", f"Gateway {gateway.name} has rejected: {gateway.rejection}")
    if not gateway.configured_pods:
        return _fails("GatewayNotConnected", f"No pod of gateway {gateway.name} takes its configuration from here")
    if gateway.failure:
        return _fails(
            "GatewayNotConnected", f"This control plane cannot call its gateway {gateway.name}: {gateway.failure}"
        )
    return None


def _reachable(facts: PeerFacts) -> _Verdict:
    if facts.diagnosis is not None and _fails_at(facts, REACHABLE):
        return _diagnosed(facts.diagnosis)
    if facts.diagnosis is not None or facts.is_watching:
        return _Verdict("True", "PeerReached", "The peer's ingress gateway is reached and has proved who it is.")
    if any(gateway.failure for gateway in facts.gateways):
        return _waiting("our own egress gateway cannot be called")
    if not (facts.is_settled and facts.watch_failure):
        return _connecting(facts.watch_failure)
    return _fails("PeerNotReached", f"The watch of the peer does not stand: {facts.watch_failure}")


def _admitted(facts: PeerFacts) -> _Verdict:
    if facts.diagnosis is not None and _fails_at(facts, ADMITTED):
        return _diagnosed(facts.diagnosis)
    if facts.is_watching or _fails_at(facts, SYNCED):
        return _Verdict("True", ADMITTED, "The peer's ingress gateway lets us in.")
    return _waiting("the peer is not reached")


def _fails_at(facts: PeerFacts, type_: str) -> bool:
    return facts.diagnosis is not None and facts.diagnosis.cause.condition == type_


def _synced(facts: PeerFacts) -> _Verdict:
    if not facts.is_watching:
        if facts.diagnosis is not None and _fails_at(facts, SYNCED):
            return _diagnosed(facts.diagnosis)
        return _waiting("the watch does not stand; what was imported stays as it was last known")
    if facts.clock_offset_s is not None and abs(facts.clock_offset_s) > CLOCKS_APART_S:
        return _fails("ClocksApart", _apart(facts.clock_offset_s))
    if facts.doubt:
        return _fails("ProtocolError", f"What the peer says is not understood: {facts.doubt}")
    if not facts.is_listed:
        return _fails("ListNotReceived", "No list of services has come") if facts.is_settled else _connecting()
    return _Verdict("True", SYNCED, "The peer's list of services is known, and its changes are followed.")


def _apart(offset_s: float) -> str:
    minutes = abs(offset_s) / 60  # in whole minutes, so that a clock that drifts is no news each second
    return f"The peer's clock is some {minutes:.0f} min {'ahead of' if offset_s > 0 else 'behind'} ours"


def _remote(facts: PeerFacts) -> _Verdict:
    if facts.remotes:
        return _Verdict("True", REMOTE_CONNECTED, "The peer's control plane watches us.")
    if facts.refused is not None:
        return _refused(facts.refused, facts)
    if not facts.is_settled:
        return _connecting()
    ingress = facts.gateways[0].name if facts.gateways else "our ingress gateway"
    return _fails("RemoteNotConnected", f"The peer does not watch us, and nothing of it is seen at {ingress}")


def _refused(caller: RefusedCaller, facts: PeerFacts) -> _Verdict:
    if caller.identity and caller.identity != facts.client:
        seen = f"{caller.gateway} was called by {caller.identity} from {caller.source}; expected was {facts.client}"
        return _fails("RemoteRefused", seen)
    roots = ", ".join(facts.bundle.fingerprints()) if facts.bundle is not None else "none"
    seen = f"{caller.gateway} was called from {caller.source} with a certificate that is not vouched for"
    return _fails("RemoteUntrusted", f"{seen} ({caller.detail}); expected was {facts.client} under root {roots}")
