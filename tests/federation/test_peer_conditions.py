"""How a link fares, as conditions: a table of facts and what they come to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.federation.test_link_causes import CASES, EXPECTED, report

from isthmus.federation.causes import BY_REASON, CAUSES, PEER_CONDITIONS, REACHABLE, READY
from isthmus.federation.link_causes import Diagnosis, link_diagnosis
from isthmus.federation.peer_conditions import GatewayFacts, PeerFacts, RefusedCaller, peer_conditions
from isthmus.federation.selection import Problem
from isthmus.identity import Authority, TrustBundle, TrustDomain

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GREEN = TrustDomain("green-mesh.local")
BUNDLE = TrustBundle.of(GREEN, Authority.self_signed(GREEN, now=NOW).roots)
CLIENT = "spiffe://green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"
INGRESS = GatewayFacts(name="ingress-green-mesh", exists=True, ready_pods=1, configured_pods=1)
EGRESS = GatewayFacts(name="egress-green-mesh", exists=True, ready_pods=1, configured_pods=1)
WELL = PeerFacts(
    bundle=BUNDLE,
    client=CLIENT,
    gateways=(INGRESS, EGRESS),
    is_watching=True,
    is_listed=True,
    clock_offset_s=0.2,
    remotes=("192.0.2.9",),
)
DOWN = replace(WELL, is_watching=False, watch_failure="503 Service Unavailable", is_listed=False)


def diagnosed(reason: str) -> PeerFacts:
    """The link is down, and trying has shown why."""
    diagnosis = link_diagnosis(report(CASES[reason]), EXPECTED)
    assert diagnosis is not None
    return replace(DOWN, diagnosis=diagnosis)


def refused(reason: str) -> PeerFacts:
    """The resource cannot be used."""
    return PeerFacts(refusal=Problem(0, reason, f"{reason}: correct it"))


def without_remote(**facts: Any) -> PeerFacts:
    """We reach the peer, it does not reach us."""
    return replace(WELL, remotes=(), **facts)


BAD = {
    **{each: refused(each) for each in ("InvalidName", "InvalidIdentity", "ClientOutsideTrustDomain", "ClientIDTaken")},
    **{each: refused(each) for each in ("RootNotFound", "RootKeyMissing", "RootInvalid", "TrustDomainTaken")},
    **{each: diagnosed(each) for each in CASES},
    "KubernetesUnreachable": replace(WELL, stale="Services cannot be followed since 12:00: connection refused"),
    "GatewayNotFound": replace(WELL, gateways=(INGRESS, replace(EGRESS, exists=False))),
    "GatewayNotReady": replace(WELL, gateways=(INGRESS, replace(EGRESS, ready_pods=0))),
    "GatewayNotConnected": replace(WELL, gateways=(replace(INGRESS, configured_pods=0), EGRESS)),
    "ConfigurationRejected": replace(WELL, gateways=(replace(INGRESS, rejection="no such field"), EGRESS)),
    "PeerNotReached": DOWN,
    "ClocksApart": replace(WELL, clock_offset_s=-600.0),
    "ListNotReceived": replace(WELL, is_listed=False),
    "RemoteNotConnected": without_remote(),
    "RemoteRefused": without_remote(
        refused=RefusedCaller(gateway=INGRESS.name, source="192.0.2.9", identity="spiffe://green-mesh.local/ns/x/sa/y")
    ),
    "RemoteUntrusted": without_remote(
        refused=RefusedCaller(gateway=INGRESS.name, source="192.0.2.9", detail="CERTIFICATE_VERIFY_FAILED")
    ),
}
"""By reason, facts that come to it."""


def conditions(facts: PeerFacts, *, now: datetime = NOW) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {each.type: (each.status, each.reason) for each in peer_conditions(facts, now=now)}


def message(facts: PeerFacts, type_: str = READY) -> str:
    """The message of one condition."""
    return next(each.message for each in peer_conditions(facts, now=NOW) if each.type == type_)


def test_a_link_that_is_well_has_every_condition_true() -> None:
    """All conditions of the list are told, in its order, and Ready last."""
    found = peer_conditions(WELL, now=NOW)
    assert [each.type for each in found] == [*PEER_CONDITIONS, READY]
    assert {each.status for each in found} == {"True"}
    assert [each.reason for each in found[:4]] == ["Accepted", "RootsKnown", "GatewaysReady", "PeerReached"]
    assert BUNDLE.fingerprints()[0] in message(WELL, "TrustResolved")


@pytest.mark.parametrize("reason", BAD)
def test_each_cause_is_told_by_its_condition_and_by_ready(reason: str) -> None:
    """The condition that the table names has the reason, and Ready sums it up with who has to act."""
    found = conditions(BAD[reason])
    assert found[BY_REASON[reason].condition][1] == reason
    assert found[BY_REASON[reason].condition][0] != "True"
    assert found[READY] == ("False", reason)
    told = message(BAD[reason])
    assert told.startswith(f"{BY_REASON[reason].condition}: ")
    assert BY_REASON[reason].action in told or "correct it" in told


def test_every_reason_of_the_table_can_come_about() -> None:
    """Nothing in the table is there for decoration: each reason is the outcome of some facts above, or of time."""
    expired = conditions(WELL, now=NOW + timedelta(days=365 * 20))
    assert expired["TrustResolved"] == ("False", "RootExpired")
    assert {cause.reason for cause in CAUSES} == {*BAD, "RootExpired"}


def test_what_cannot_be_known_yet_is_unknown() -> None:
    """A resource that cannot be used leaves the rest open; so does a link that has only begun."""
    found = conditions(refused("RootNotFound"))
    assert found["Accepted"] == ("True", "Accepted")
    assert {found[each][0] for each in PEER_CONDITIONS[2:]} == {"Unknown"}
    beginning = replace(DOWN, watch_failure="", is_settled=False, remotes=())
    assert conditions(beginning)[REACHABLE] == ("Unknown", "Connecting")
    assert conditions(beginning)["RemoteConnected"] == ("Unknown", "Connecting")
    assert conditions(beginning)[READY] == ("False", "Connecting")


def test_what_is_wrong_goes_before_what_is_unknown() -> None:
    """Ready tells the first condition that does not hold, though an earlier one is not known."""
    facts = replace(WELL, stale="Pods cannot be followed since 12:00", remotes=())
    assert conditions(facts)["Accepted"][0] == "Unknown"
    assert conditions(facts)[READY] == ("False", "RemoteNotConnected")


def test_an_egress_gateway_that_cannot_be_called_is_not_the_peers_fault() -> None:
    """Where our own gateway does not answer us, nothing is said of the peer."""
    facts = replace(DOWN, gateways=(INGRESS, replace(EGRESS, failure="connection refused")))
    found = conditions(facts)
    assert found["GatewaysReady"] == ("False", "GatewayNotConnected")
    assert found[REACHABLE] == ("Unknown", "Waiting")


@pytest.mark.parametrize(
    ("reason", "reachable", "admitted"),
    [("UnknownRoot", "False", "Unknown"), ("ClientRefused", "True", "False"), ("PeerControlPlaneDown", "True", "True")],
)
def test_how_far_calls_come(reason: str, reachable: str, admitted: str) -> None:
    """What is past does hold, what is behind the obstacle is not known."""
    found = conditions(diagnosed(reason))
    assert (found[REACHABLE][0], found["Admitted"][0]) == (reachable, admitted)


def test_a_caller_with_the_right_identity_and_a_bad_certificate_is_untrusted() -> None:
    """Who claims to be the clientID under another root is not told to be somebody else."""
    caller = RefusedCaller(gateway=INGRESS.name, source="192.0.2.9", identity=CLIENT, detail="unknown CA")
    assert conditions(without_remote(refused=caller))["RemoteConnected"][1] == "RemoteUntrusted"


def test_a_diagnosis_is_one_line() -> None:
    """Whatever was seen, the message says who acts and how, and nothing twice."""
    diagnosis = Diagnosis.of("ConnectionRefused", "egress called 192.0.2.1:8188: refused. ")
    assert diagnosis.message == (
        "egress called 192.0.2.1:8188: refused. To be mended at the peer: "
        "see that the peer's ingress gateway runs and is exposed at this address and port."
    )
