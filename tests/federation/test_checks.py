"""What a check tells: each step from what was found out, and what only the status knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from isthmus.api import Condition
from isthmus.api.check import CheckStep
from isthmus.federation.causes import BY_REASON, CAUSES, PEER_CONDITIONS, Cause
from isthmus.federation.checks import (
    CHECK_CAUSES,
    STEP_OF_REASON,
    STEPS,
    CheckFacts,
    PathFindings,
    by_condition,
    check_steps,
    failed,
    passed,
    skipped,
    steps_from_status,
    steps_of_silence,
    verdict,
)
from isthmus.federation.findings import Attempt, CertificateFacts, Fault, ProbeReport, RequestReport, Step
from isthmus.federation.link_causes import Diagnosis, Expected
from isthmus.federation.messages import LinkView

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
INGRESS = "spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account"
CERTIFICATE = CertificateFacts(
    fingerprint="AB:CD", uris=(INGRESS,), not_before=NOW - timedelta(hours=1), not_after=NOW + timedelta(hours=12)
)
REACHED = Attempt(
    address="green.example",
    host="10.0.0.1",
    port=8188,
    reached=Step.ANSWER,
    status=200,
    certificate=CERTIFICATE,
    resolve_ms=1.0,
    connect_ms=2.0,
    handshake_ms=3.0,
    answer_ms=4.0,
)
EXPECTED = Expected(
    gateway="egress-green-mesh",
    identity="spiffe://red-mesh.local/ns/red-mesh-system/sa/egress-green-mesh-service-account",
    trust_domain="green-mesh.local",
    roots=("AA:BB",),
)
VIEW = LinkView(peer="red-mesh", exports=3, knows=2, imports=1)
ANSWERED = RequestReport(pod="egress-0", at=NOW, detail="200 OK", status=200, duration_ms=5.0)


def holding(**others: Condition) -> dict[str, Condition]:
    """All conditions of a peer, True unless given otherwise."""
    return {type_: Condition(type=type_, status="True") for type_ in PEER_CONDITIONS} | others


def broken(type_: str, reason: str, *, seen: str = "Seen") -> dict[str, Condition]:
    """All conditions of a peer, one False."""
    return holding(
        **{type_: Condition(type=type_, status="False", reason=reason, message=BY_REASON[reason].told(seen))}
    )


def probed(*attempts: Attempt) -> ProbeReport:
    return ProbeReport(pod="egress-0", at=NOW, attempts=attempts, clock_offset_s=-0.25)


HEALTHY = CheckFacts(
    conditions=holding(),
    figures={"resources": "rules", "trust": "roots", "gateways": "pods", "remote": "watched"},
    expected=EXPECTED,
    probe=probed(REACHED),
    known=3,
    imported=2,
    exported=2,
    view=VIEW,
    path=PathFindings(name="ratings:9080", report=ANSWERED),
    now=NOW,
)


def by_name(facts: CheckFacts) -> dict[str, CheckStep]:
    return {step.name: step for step in check_steps(facts)}


def test_a_link_that_holds() -> None:
    """Every step passes, in order, with its figure; the verdict is green."""
    steps = check_steps(HEALTHY)
    assert [step.name for step in steps] == list(STEPS)
    assert {step.result for step in steps} == {"passed"}
    assert verdict(steps) == "passed"
    assert {step.name: step.figure for step in steps} == {
        "resources": "rules",
        "trust": "roots",
        "gateways": "pods",
        "dns": "green.example is 10.0.0.1, 1.0 ms",
        "tcp": "10.0.0.1:8188, 2.0 ms",
        "tls": "3.0 ms",
        "identity": f"{INGRESS}, expires in 0.5 days",
        "discovery": "4.0 ms, clocks 0.2 s apart",
        "remote": "watched",
        "exports": "we know 3 of theirs and import 2; we export 2, they import 1",
        "data-path": "ratings:9080: 200 OK, 5.0 ms",
    }


def stopped(reached: Step | None, fault: Fault, *, status: int = 0) -> Attempt:
    return Attempt(address="green.example", host="10.0.0.2", port=8188, reached=reached, fault=fault, status=status)


WAYS: dict[str, tuple[Attempt, str, str]] = {
    "no name": (stopped(None, Fault.NOT_RESOLVED), "dns", "AddressNotResolved"),
    "refused": (stopped(Step.RESOLVE, Fault.REFUSED), "tcp", "ConnectionRefused"),
    "black hole": (stopped(Step.RESOLVE, Fault.TIMED_OUT), "tcp", "ConnectionTimedOut"),
    "plain text": (stopped(Step.CONNECT, Fault.NOT_TLS), "tls", "NotTls"),
    "other root": (stopped(Step.HANDSHAKE, Fault.UNKNOWN_ROOT), "identity", "UnknownRoot"),
    "expired": (stopped(Step.HANDSHAKE, Fault.EXPIRED), "identity", "CertificateExpired"),
    "our root there": (stopped(Step.TRUST, Fault.CERTIFICATE_REFUSED), "discovery", "CertificateRefused"),
    "clientID there": (stopped(Step.TRUST, Fault.STATUS, status=403), "discovery", "ClientRefused"),
    "no peer there": (stopped(Step.TRUST, Fault.STATUS, status=404), "discovery", "NoPeerForUs"),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_that_is_blocked(name: str) -> None:
    """The step at which it ends fails with the cause, the side and what to do; those before pass, those after wait."""
    attempt, at, reason = WAYS[name]
    steps = by_name(replace(HEALTHY, probe=probed(attempt)))
    way = ["dns", "tcp", "tls", "identity", "discovery"]
    assert [steps[each].result for each in way] == [
        "passed" if way.index(each) < way.index(at) else "failed" if each == at else "skipped" for each in way
    ]
    cause = BY_REASON[reason]
    assert (steps[at].cause, steps[at].side, steps[at].action) == (reason, cause.side, cause.action)
    assert "egress-green-mesh called" in steps[at].message
    assert verdict(tuple(steps.values())) == "failed"


def test_a_request_that_fails_at_a_known_cause() -> None:
    """What trying the port for services has shown is the cause, if it has shown any."""
    refused = RequestReport(pod="egress-0", at=NOW, fault=Fault.CLOSED, detail="closed")
    path = PathFindings(
        name="ratings:9080", report=refused, diagnosis=Diagnosis.of("ConnectionRefused", "Refused at 10.0.0.1:15443")
    )
    step = by_name(replace(HEALTHY, path=path))["data-path"]
    assert (step.cause, step.side) == ("ConnectionRefused", "at the peer")
    assert step.message.endswith("closed; Refused at 10.0.0.1:15443")


def test_what_follows_from_a_blocked_way_is_mended_there() -> None:
    """A request that fails after the way has failed names the side and the step that have to be mended first."""
    refused = RequestReport(pod="egress-0", at=NOW, fault=Fault.CLOSED, detail="closed")
    path = PathFindings(name="ratings:9080", report=refused)
    steps = by_name(replace(HEALTHY, probe=probed(stopped(None, Fault.NOT_RESOLVED)), path=path))
    assert (steps["data-path"].cause, steps["data-path"].side) == ("RequestFailed", steps["dns"].side)
    assert steps["data-path"].action == "mend dns first."


def test_one_dead_address_of_two_is_told() -> None:
    """The step fails for the address that it stops, and the other goes on to the end."""
    steps = by_name(replace(HEALTHY, probe=probed(REACHED, stopped(Step.RESOLVE, Fault.REFUSED))))
    assert steps["tcp"].cause == "ConnectionRefused"
    assert "10.0.0.2" in steps["tcp"].message
    assert [steps[each].result for each in ("tls", "identity", "discovery")] == ["passed"] * 3


@pytest.mark.parametrize(
    ("name", "type_", "reason"),
    [
        ("resources", "Accepted", "InvalidIdentity"),
        ("trust", "TrustResolved", "RootExpired"),
        ("gateways", "GatewaysReady", "GatewayNotFound"),
        ("remote", "RemoteConnected", "RemoteRefused"),
        ("discovery", "Synced", "ClocksApart"),
        ("discovery", "Reachable", "PeerNotReached"),
    ],
)
def test_steps_by_conditions(name: str, type_: str, reason: str) -> None:
    """A condition that does not hold now fails its step, with what was seen and what to do apart."""
    step = by_name(replace(HEALTHY, conditions=broken(type_, reason)))[name]
    assert (step.result, step.cause, step.message) == ("failed", reason, "Seen")
    assert step.action == BY_REASON[reason].action
    assert step.page == f"docs/conditions.md#{BY_REASON[reason].condition.lower()}"


def test_a_watch_that_is_being_tried_is_no_success() -> None:
    """That the peer answers a probe proves nothing of our own watch."""
    waiting = Condition(type="Synced", status="Unknown", reason="Connecting", message="Being tried.")
    step = by_name(replace(HEALTHY, conditions=holding(Synced=waiting)))["discovery"]
    assert (step.result, step.message) == ("skipped", "Being tried.")


def test_a_gateway_that_cannot_be_asked() -> None:
    """Nothing of the way is known, and each step says why."""
    steps = by_name(replace(HEALTHY, probe=None, why_not_probed="no pod could be asked"))
    assert {steps[each].message for each in ("dns", "tcp", "tls", "identity", "discovery")} == {"no pod could be asked"}
    assert verdict(tuple(steps.values())) == "unproved"


@pytest.mark.parametrize(
    ("view", "known", "result", "said"),
    [
        (LinkView(peer="red-mesh", exports=2, knows=2), 3, "failed", "The peer exports 2 services, known here are 3"),
        (LinkView(peer="red-mesh", exports=3, knows=1), 3, "failed", "We export 2 services, the peer knows 1"),
        (LinkView(peer="red-mesh", exports=3), 3, "skipped", "does not tell what it knows"),
        (None, 3, "skipped", "of another make"),
        (VIEW, None, "skipped", "no list of the peer has come"),
    ],
)
def test_exports_against_what_the_other_side_knows(
    view: LinkView | None, known: int | None, result: str, said: str
) -> None:
    """Numbers that differ fail; what the peer does not tell is not proved."""
    step = by_name(replace(HEALTHY, view=view, known=known, why_no_view="of another make"))["exports"]
    assert step.result == result
    assert said in step.message


def test_a_request_that_fails() -> None:
    """Only an answer is green; nothing to call is not."""
    refused = RequestReport(pod="egress-0", at=NOW, fault=Fault.CLOSED, detail="closed")
    step = by_name(replace(HEALTHY, path=PathFindings(name="ratings:9080", report=refused)))["data-path"]
    assert (step.cause, step.message) == ("RequestFailed", "ratings:9080 was called from egress-0: closed")
    assert step.page == "docs/diagnosis.md#what-only-a-check-finds"
    step = by_name(replace(HEALTHY, path=PathFindings(why_not="nothing imported")))["data-path"]
    assert (step.result, step.message) == ("skipped", "nothing imported")


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.reason)
def test_the_status_alone_never_makes_green(cause: Cause) -> None:
    """Every reason fails a step when only the status is known, and what it says of the way passes none."""
    steps = steps_from_status(broken(cause.condition, cause.reason), "may not")
    assert [step.name for step in steps] == list(STEPS)
    assert [step.cause for step in steps if step.result == "failed"] == [cause.reason]
    assert {step.name for step in steps if step.result == "passed"} <= {"resources", "trust", "gateways"}


def test_a_good_status_alone_is_not_proved() -> None:
    """Conditions that hold leave the way unproved."""
    assert verdict(steps_from_status(holding(), "may not")) == "unproved"
    assert {step.message for step in steps_from_status({}, "may not")} == {"the status does not tell", "may not"}


def test_steps_of_reasons_are_steps() -> None:
    """The table names steps and reasons that there are."""
    assert set(STEP_OF_REASON.values()) <= set(STEPS)
    assert set(STEP_OF_REASON) <= set(BY_REASON)
    assert not set(CHECK_CAUSES) & set(BY_REASON)


def test_silence() -> None:
    """If nobody answers, the first step says why and nothing is green."""
    steps = steps_of_silence("ControlPlaneDown", "No pod")
    assert steps[0] == failed("resources", "ControlPlaneDown", "No pod")
    assert {step.result for step in steps[1:]} == {"skipped"}


def test_verdicts() -> None:
    """One failure is red, one gap is not green, and nothing at all proves nothing."""
    good, gap, bad = passed("dns", ""), skipped("tcp", "x"), failed("tls", "NotTls", "x")
    assert [verdict(steps) for steps in ((good,), (good, gap), (good, gap, bad), ())] == [
        "passed",
        "unproved",
        "failed",
        "unproved",
    ]


def test_an_uncertain_condition_with_a_cause_fails_the_step() -> None:
    """A view of the cluster that grows old is nothing to be skipped: the step fails, with the cause and the side."""
    stale = Condition(
        type="Accepted", status="Unknown", reason="KubernetesUnreachable", message="Pod cannot be followed"
    )
    step = by_condition("resources", stale)
    assert (step.result, step.cause, step.side) == ("failed", "KubernetesUnreachable", "here")
    waiting = Condition(type="Accepted", status="Unknown", reason="Waiting", message="Not known")
    assert by_condition("resources", waiting).result == "skipped"
