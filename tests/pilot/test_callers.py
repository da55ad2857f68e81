"""Whom an ingress gateway refused, as far as it may be the peer."""

from dataclasses import dataclass, field
from typing import Any

from isthmus.pilot.callers import MAX_REMEMBERED, REMEMBERED_S, Callers
from isthmus.reports import GatewayReport

INGRESS = "ingress-green-mesh"
GREEN = "spiffe://green-mesh.local/ns/green-mesh-system/sa/egress"
BLUE = "spiffe://blue-mesh.local/ns/blue-mesh-system/sa/egress"
NOBODY: frozenset[str] = frozenset()


@dataclass
class Watched:
    """Callers, their clock, and the gateways that were told of."""

    now: float = 0.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.callers = Callers(changed=self.told.append, now=lambda: self.now)

    def refused(self, **facts: Any) -> None:
        """A handshake failed at the gateway."""
        report = {"log": "refused", "failure": "CERTIFICATE_VERIFY_FAILED", "source": "192.0.2.9", **facts}
        self.callers.reported(INGRESS, GatewayReport(**report))


def test_a_refused_handshake_is_remembered_while_it_goes_on() -> None:
    """The caller is told of with its source and the cause, once, and forgotten when it has given up."""
    watched = Watched()
    watched.refused()
    watched.refused()
    found = watched.callers.refused(INGRESS, others=NOBODY)
    assert found is not None
    assert (found.source, found.identity, found.detail) == ("192.0.2.9", "", "CERTIFICATE_VERIFY_FAILED")
    assert watched.told == [INGRESS]
    watched.now = REMEMBERED_S + 1
    assert watched.callers.refused(INGRESS, others=NOBODY) is None
    assert watched.callers.refused("ingress-blue-mesh", others=NOBODY) is None


def test_a_forbidden_identity_is_remembered() -> None:
    """Who has proved to be somebody, and is not the one that may call."""
    watched = Watched()
    watched.refused(
        log="discovery", failure="", status=403, details="rbac_access_denied_matched_policy[none]", identity=GREEN
    )
    found = watched.callers.refused(INGRESS, others=NOBODY)
    assert found is not None
    assert found.identity == GREEN


def test_who_was_let_in_is_no_refused_caller() -> None:
    """A call that failed behind the gateway, and an answer of the control plane, are not about who called."""
    watched = Watched()
    watched.refused(upstream="192.0.2.1", identity=GREEN)
    watched.refused(log="discovery", failure="", status=503, details="upstream_reset", identity=GREEN)
    watched.refused(log="discovery", failure="", status=403, details="via_upstream", identity=GREEN)
    assert watched.callers.refused(INGRESS, others=NOBODY) is None


def test_who_was_refused_before_the_peer_was_let_in_does_not_count() -> None:
    """A refusal explains why a peer does not come, not why it has left."""
    watched = Watched(now=10.0)
    watched.refused()
    assert watched.callers.refused(INGRESS, others=NOBODY, after=5.0) is not None
    assert watched.callers.refused(INGRESS, others=NOBODY, after=20.0) is None


def test_another_peer_of_the_gateway_is_not_taken_for_this_one() -> None:
    """Of two that are refused at a shared gateway, the one that is some other peer does not count."""
    watched = Watched()
    watched.refused(identity=GREEN)
    watched.refused(identity=BLUE)
    found = watched.callers.refused(INGRESS, others=frozenset({BLUE}))
    assert found is not None
    assert found.identity == GREEN


def test_strangers_without_number_cost_a_bounded_memory() -> None:
    """Whoever makes up identities pushes out what was remembered, and no more."""
    watched = Watched()
    for number in range(MAX_REMEMBERED + 10):
        watched.refused(identity=f"{GREEN}-{number}")
    assert len(watched.callers._seen) == MAX_REMEMBERED
