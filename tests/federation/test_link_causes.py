"""From attempts to the one cause that is told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from isthmus.federation.causes import BY_REASON, Side
from isthmus.federation.findings import Attempt, CertificateFacts, Fault, ProbeReport, Step
from isthmus.federation.link_causes import Expected, link_diagnosis

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CERTIFICATE = CertificateFacts(
    fingerprint="AB:CD",
    issuer="CN=blue",
    uris=("spiffe://blue-mesh.local/ns/blue-mesh-system/sa/ingress",),
    not_before=datetime(2026, 11, 24, tzinfo=UTC),
    not_after=datetime(2026, 11, 26, tzinfo=UTC),
)
EXPECTED = Expected(
    gateway="egress-green-mesh",
    identity="spiffe://red-mesh.local/ns/red-mesh-system/sa/egress-green-mesh-service-account",
    trust_domain="green-mesh.local",
    roots=("11:22",),
)


def attempt(fault: Fault | None, reached: Step | None, **facts: Any) -> Attempt:
    """A call to green's address."""
    return Attempt(
        **{"address": "green.example", "host": "192.0.2.7", "port": 8188, "fault": fault, "reached": reached, **facts}
    )


def report(*attempts: Attempt) -> ProbeReport:
    """What red's egress gateway found."""
    return ProbeReport(pod="egress-green-mesh-0", at=NOW, attempts=attempts)


CASES = {
    "AddressNotResolved": attempt(Fault.NOT_RESOLVED, None, host=""),
    "ConnectionRefused": attempt(Fault.REFUSED, Step.RESOLVE),
    "ConnectionTimedOut": attempt(Fault.TIMED_OUT, Step.RESOLVE),
    "NotTls": attempt(Fault.NOT_TLS, Step.CONNECT),
    "HandshakeFailed": attempt(Fault.CLOSED, Step.CONNECT),
    "UnexpectedServer": attempt(Fault.NO_IDENTITY, Step.HANDSHAKE),
    "UnknownRoot": attempt(Fault.UNKNOWN_ROOT, Step.HANDSHAKE, certificate=CERTIFICATE),
    "WrongTrustDomain": attempt(Fault.WRONG_TRUST_DOMAIN, Step.HANDSHAKE, certificate=CERTIFICATE),
    "WrongIdentity": attempt(Fault.WRONG_IDENTITY, Step.HANDSHAKE, certificate=CERTIFICATE),
    "CertificateExpired": attempt(Fault.EXPIRED, Step.HANDSHAKE, certificate=CERTIFICATE),
    "CertificateNotYetValid": attempt(Fault.NOT_YET_VALID, Step.HANDSHAKE, certificate=CERTIFICATE),
    "CertificateRefused": attempt(Fault.CERTIFICATE_REFUSED, Step.TRUST),
    "ClientRefused": attempt(Fault.STATUS, Step.TRUST, status=403, detail="403 Forbidden"),
    "NoPeerForUs": attempt(Fault.STATUS, Step.TRUST, status=404, detail="404 Not Found"),
    "PeerControlPlaneDown": attempt(Fault.STATUS, Step.TRUST, status=503, detail="503 Service Unavailable"),
    "ProtocolError": attempt(Fault.PROTOCOL, Step.TRUST),
}
"""By reason, a call that fails for it."""


@pytest.mark.parametrize("reason", CASES)
def test_each_fault_has_its_reason(reason: str) -> None:
    """What stopped the call decides the reason, and the message names the gateway, the identity and the place."""
    found = link_diagnosis(report(CASES[reason]), EXPECTED)
    assert found is not None
    assert found.reason == reason
    for named in ("egress-green-mesh called ", "green.example", "8188", EXPECTED.identity):
        assert named in found.message


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("reached", [None, *Step])
def test_every_fault_at_every_step_has_a_reason(fault: Fault, reached: Step | None) -> None:
    """Whatever an agent reports, there is a cause for it in the table."""
    found = link_diagnosis(report(attempt(fault, reached, status=418)), EXPECTED)
    assert found is not None
    assert found.reason in BY_REASON


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "NoPeerForUs"),
        (403, "ClientRefused"),
        (404, "NoPeerForUs"),
        (500, "ProtocolError"),
        (502, "PeerControlPlaneDown"),
        (503, "PeerControlPlaneDown"),
        (504, "PeerControlPlaneDown"),
        (302, "ProtocolError"),
    ],
)
def test_statuses(status: int, reason: str) -> None:
    """A status of HTTP tells how far inside the peer the call came."""
    found = link_diagnosis(report(attempt(Fault.STATUS, Step.TRUST, status=status)), EXPECTED)
    assert found is not None
    assert found.reason == reason


def test_a_silent_gateway_after_the_handshake_is_not_the_networks_fault() -> None:
    """Silence before TLS is a black hole; after it, the peer's gateway waits for its control plane."""
    found = link_diagnosis(report(attempt(Fault.TIMED_OUT, Step.TRUST)), EXPECTED)
    assert found is not None
    assert (found.reason, found.cause.side) == ("PeerControlPlaneDown", Side.PEER)


def test_a_certificate_is_told_with_identity_fingerprint_dates_and_what_was_expected() -> None:
    """The administrator can compare what was shown with what the resource expects."""
    found = link_diagnosis(report(CASES["UnknownRoot"]), EXPECTED)
    assert found is not None
    for told in (CERTIFICATE.uris[0], "AB:CD", "2026-11-24T00:00:00Z", "2026-11-26T00:00:00Z", "CN=blue", "11:22"):
        assert told in found.message
    assert "trust domain green-mesh.local" in found.message
    assert "To be mended here: " in found.message


def test_the_call_that_came_furthest_is_told() -> None:
    """Of two addresses, one dead and one with a wrong certificate, the certificate is the news."""
    dead = attempt(Fault.TIMED_OUT, Step.RESOLVE, address="192.0.2.1", host="192.0.2.1")
    found = link_diagnosis(report(dead, CASES["UnknownRoot"]), EXPECTED)
    assert found is not None
    assert found.reason == "UnknownRoot"
    assert link_diagnosis(report(CASES["UnknownRoot"], dead), EXPECTED) == found


def test_one_address_that_answers_is_enough() -> None:
    """A way that is open needs no diagnosis, nor does one that was not tried."""
    assert link_diagnosis(report(CASES["UnknownRoot"], attempt(None, Step.ANSWER)), EXPECTED) is None
    assert link_diagnosis(report(), EXPECTED) is None


def test_durations_and_pods_are_no_news() -> None:
    """The same failure from another pod, in another time, is told in the same words: a status is not written anew."""
    slow = ProbeReport(
        pod="egress-green-mesh-1", at=NOW, attempts=(attempt(Fault.REFUSED, Step.RESOLVE, resolve_ms=9),)
    )
    assert link_diagnosis(slow, EXPECTED) == link_diagnosis(report(CASES["ConnectionRefused"]), EXPECTED)
