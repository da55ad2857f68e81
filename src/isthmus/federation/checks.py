"""A check of one link, step by step: from what was found out in one moment to what an administrator is told.

Pure. A step passes on evidence of this very check, never on a flag; a step that could not be tried is skipped and says
why. Of several addresses each must hold: a step fails if it stops any of them, and the others go on.
Source: docs/diagnosis.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from isthmus.api import Condition
from isthmus.api.check import CheckStep
from isthmus.federation.causes import (
    ACCEPTED,
    ADMITTED,
    BY_REASON,
    GATEWAYS_READY,
    REACHABLE,
    REMOTE_CONNECTED,
    SYNCED,
    TRUST_RESOLVED,
    Cause,
    Side,
)
from isthmus.federation.findings import Attempt, ProbeReport, RequestReport, Step
from isthmus.federation.link_causes import Diagnosis, Expected, link_diagnosis
from isthmus.federation.messages import LinkView

STEPS: Final = (
    "resources",
    "trust",
    "gateways",
    "dns",
    "tcp",
    "tls",
    "identity",
    "discovery",
    "remote",
    "exports",
    "data-path",
)
"""All steps, in order."""

CHECK_CAUSES: Final = {
    cause.reason: cause
    for cause in (
        Cause(
            "ListsDiffer",
            SYNCED,
            Side.EITHER,
            "One side exports another number of services than the other has heard of.",
            "check again in a few seconds; if it stays, look at the logs of both control planes.",
        ),
        Cause(
            "RequestFailed",
            SYNCED,
            Side.PEER,
            "A request to an import, through the gateways of both meshes, was not answered.",
            "see that the exported service answers there, and that port 15443 of the peer's ingress gateway is open.",
        ),
        Cause(
            "ControlPlaneDown",
            ACCEPTED,
            Side.HERE,
            "No pod of the control plane runs that could answer.",
            "look at the Deployment istiod-<mesh> in this namespace: kubectl describe, kubectl logs.",
        ),
        Cause(
            "ControlPlaneSilent",
            ACCEPTED,
            Side.HERE,
            "The control plane runs, and does not answer what it is asked through the resource.",
            "look at the log of the pod that leads; one of an older version does not know the question: update it.",
        ),
    )
}
"""What only a check can find; all other causes are those of the conditions."""

CONDITIONS_PAGE: Final = "docs/conditions.md"
OWN_PAGE: Final = "docs/diagnosis.md#what-only-a-check-finds"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFindings:
    """What a request through the gateways met, or why none was made."""

    name: str = ""
    """The import that was called, by its name here."""
    report: RequestReport | None = None
    diagnosis: Diagnosis | None = None
    """Why the request was not answered, as far as trying the port for services has shown."""
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFacts:
    """All that one check has found out."""

    conditions: Mapping[str, Condition]
    """Of this moment (``peer_conditions``), by type."""
    figures: Mapping[str, str]
    """What is worth telling of ``resources``, ``trust``, ``gateways`` and ``remote`` when they pass."""
    expected: Expected | None = None
    """None if the resource cannot be used."""
    probe: ProbeReport | None = None
    why_not_probed: str = ""
    known: int | None = None
    """How many of the peer's exports we know of; None while no list has come."""
    imported: int = 0
    exported: int = 0
    """How many services we export to the peer."""
    view: LinkView | None = None
    why_no_view: str = ""
    path: PathFindings = PathFindings()
    now: datetime


def check_steps(facts: CheckFacts) -> tuple[CheckStep, ...]:
    """All steps, in order."""
    way = (
        _by_condition("resources", ACCEPTED, facts),
        _by_condition("trust", TRUST_RESOLVED, facts),
        _by_condition("gateways", GATEWAYS_READY, facts),
        *_way(facts),
    )
    exports, data_path = (_following(way, step) for step in (_exports(facts), _data_path(facts.path)))
    return *way, _by_condition("remote", REMOTE_CONNECTED, facts), exports, data_path


def passed(name: str, figure: str) -> CheckStep:
    """A step that holds."""
    return CheckStep(name=name, result="passed", figure=figure)


def skipped(name: str, why: str, *, figure: str = "") -> CheckStep:
    """A step that could not be tried."""
    return CheckStep(name=name, result="skipped", figure=figure, message=why)


def failed(name: str, reason: str, seen: str) -> CheckStep:
    """A step that does not hold, for a reason of the tables; another one has neither side nor action."""
    cause = BY_REASON.get(reason) or CHECK_CAUSES.get(reason)
    page = CONDITIONS_PAGE if cause is None else f"{CONDITIONS_PAGE}#{cause.condition.lower()}"
    return CheckStep(
        name=name,
        result="failed",
        cause=reason,
        message=seen,
        side=str(cause.side) if cause is not None else "",
        action=cause.action if cause is not None else "",
        page=OWN_PAGE if reason in CHECK_CAUSES else page,
    )


def by_condition(name: str, condition: Condition | None, *, figure: str = "") -> CheckStep:
    """The step that a condition tells of; what it says of who has to act is told in fields of their own."""
    if condition is None:
        return skipped(name, "the status does not tell")
    if condition.status == "True":
        return passed(name, figure)
    cause = BY_REASON.get(condition.reason)
    if condition.status == "Unknown" and cause is None:  # a cause makes it uncertain, and is to be mended all the same
        return skipped(name, condition.message)
    seen = condition.message if cause is None else condition.message.removesuffix(cause.told(""))
    return failed(name, condition.reason, seen)


def steps_from_status(conditions: Mapping[str, Condition], why: str) -> tuple[CheckStep, ...]:
    """What the status alone tells, where nothing could be tried, and ``why`` that is so.

    A condition that does not hold fails the step it stands for. One that holds passes a step only if it is about
    resources: what it says of the way is not of this moment.
    """
    told = {name: by_condition(name, conditions.get(type_)) for name, type_ in _OF_RESOURCES.items()}
    for type_ in (REACHABLE, ADMITTED, SYNCED):
        condition = conditions.get(type_)
        if condition is not None and condition.status == "False":
            name = STEP_OF_REASON.get(condition.reason, "discovery")
            told.setdefault(name, by_condition(name, condition))
    remote = by_condition("remote", conditions.get(REMOTE_CONNECTED))
    if remote.result == "failed":
        told["remote"] = remote
    return tuple(told.get(name) or skipped(name, why) for name in STEPS)


def steps_of_silence(reason: str, seen: str) -> tuple[CheckStep, ...]:
    """What is told if no control plane answers, and why it does not."""
    return failed(STEPS[0], reason, seen), *(skipped(name, "no control plane answers") for name in STEPS[1:])


_OF_RESOURCES: Final = {"resources": ACCEPTED, "trust": TRUST_RESOLVED, "gateways": GATEWAYS_READY}
STEP_OF_REASON: Final = {
    "AddressNotResolved": "dns",
    "ConnectionRefused": "tcp",
    "ConnectionTimedOut": "tcp",
    "NotTls": "tls",
    "HandshakeFailed": "tls",
    "UnexpectedServer": "identity",
    "UnknownRoot": "identity",
    "WrongTrustDomain": "identity",
    "WrongIdentity": "identity",
    "CertificateExpired": "identity",
    "CertificateNotYetValid": "identity",
}
"""At which step a reason of the way shows; all others do at ``discovery``."""


def _by_condition(name: str, type_: str, facts: CheckFacts) -> CheckStep:
    return by_condition(name, facts.conditions.get(type_), figure=facts.figures.get(name, ""))


_WAY: Final = {
    "dns": Step.RESOLVE,
    "tcp": Step.CONNECT,
    "tls": Step.HANDSHAKE,
    "identity": Step.TRUST,
    "discovery": Step.ANSWER,
}
_ORDER: Final = (None, *Step)


def _way(facts: CheckFacts) -> Iterator[CheckStep]:
    if facts.probe is None or facts.expected is None:
        yield from (skipped(name, facts.why_not_probed) for name in _WAY)
        return
    for name, step in _WAY.items():
        found = _of_the_way(name, step, facts.probe, facts.expected, facts.now)
        yield _discovered(found, facts) if step is Step.ANSWER and found.result == "passed" else found


def _of_the_way(name: str, step: Step, probe: ProbeReport, expected: Expected, now: datetime) -> CheckStep:
    """One step of the way, over all addresses."""
    before = _ORDER[_ORDER.index(step) - 1]
    stopped = tuple(each for each in probe.attempts if each.reached is before and each.fault is not None)
    diagnosis = link_diagnosis(msgspec.structs.replace(probe, attempts=stopped), expected) if stopped else None
    if diagnosis is not None:
        return failed(name, diagnosis.reason, diagnosis.seen)
    there = [each for each in probe.attempts if _ORDER.index(each.reached) >= _ORDER.index(step)]
    if not there:
        return skipped(name, "no address came so far")
    return passed(name, "; ".join(dict.fromkeys(_figure(step, each, probe, now) for each in there)))


def _figure(step: Step, attempt: Attempt, probe: ProbeReport, now: datetime) -> str:
    match step:
        case Step.RESOLVE:
            return _resolved(attempt)
        case Step.CONNECT:
            return f"{attempt.host}:{attempt.port}, {_ms(attempt.connect_ms)}"
        case Step.HANDSHAKE:
            return _ms(attempt.handshake_ms)
        case Step.TRUST:
            return _identified(attempt, now)
        case Step.ANSWER:
            offset_s = probe.clock_offset_s
            return _ms(attempt.answer_ms) + ("" if offset_s is None else f", clocks {abs(offset_s):.1f} s apart")


def _resolved(attempt: Attempt) -> str:
    if attempt.host == attempt.address:
        return f"{attempt.address} is an address"
    return f"{attempt.address} is {attempt.host}, {_ms(attempt.resolve_ms)}"


def _identified(attempt: Attempt, now: datetime) -> str:
    shown = attempt.certificate
    return "" if shown is None else f"{', '.join(shown.uris)}, {left(shown.not_after, now)}"


def _discovered(found: CheckStep, facts: CheckFacts) -> CheckStep:
    """The peer answers; now the control plane's own watch must stand, and its list be here."""
    for type_ in (REACHABLE, ADMITTED, SYNCED):
        step = by_condition(found.name, facts.conditions.get(type_), figure=found.figure)
        if step.result != "passed":
            return step
    return found


def _exports(facts: CheckFacts) -> CheckStep:
    """What each side exports against what the other has heard of."""
    if facts.known is None:
        return skipped("exports", "no list of the peer has come")
    ours = f"we know {facts.known} of theirs and import {facts.imported}; we export {facts.exported}"
    if facts.view is None:
        return skipped("exports", facts.why_no_view, figure=ours)
    view = facts.view
    if view.exports != facts.known:
        return failed(
            "exports", "ListsDiffer", f"The peer exports {view.exports} services, known here are {facts.known}"
        )
    if view.knows is None:
        return skipped("exports", "the peer does not tell what it knows of our exports", figure=ours)
    if view.knows != facts.exported:
        return failed("exports", "ListsDiffer", f"We export {facts.exported} services, the peer knows {view.knows}")
    return passed("exports", f"{ours}, they import {view.imports or 0}")


def _following(way: Sequence[CheckStep], step: CheckStep) -> CheckStep:
    """A step that needs the way, and fails because that has failed, is to be mended there."""
    first = next((each for each in way if each.result == "failed"), None)
    if first is None or step.result != "failed":
        return step
    return msgspec.structs.replace(step, side=first.side, action=f"mend {first.name} first.", page=first.page)


def _data_path(path: PathFindings) -> CheckStep:
    if path.report is None:
        return skipped("data-path", path.why_not)
    report = path.report
    if report.fault is not None:
        seen = f"{path.name} was called from {report.pod}: {report.detail}"
        if path.diagnosis is not None:
            return failed("data-path", path.diagnosis.reason, f"{seen}; {path.diagnosis.seen}")
        return failed("data-path", "RequestFailed", seen)
    return passed("data-path", f"{path.name}: {report.detail}, {_ms(report.duration_ms)}")


def left(end: datetime, now: datetime) -> str:
    """How long something holds, for people."""
    days = (end - now).total_seconds() / 86400
    return f"expires in {days:.0f} days" if days >= 10 else f"expires in {days:.1f} days"


def _ms(duration_ms: float | None) -> str:
    return "" if duration_ms is None else f"{duration_ms:.1f} ms"


def verdict(steps: Sequence[CheckStep]) -> str:
    """``failed`` if any step is; ``unproved`` if one was skipped; else ``passed``."""
    results = {step.result for step in steps}
    if "failed" in results:
        return "failed"
    return "unproved" if "skipped" in results or not steps else "passed"
