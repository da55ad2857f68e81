"""Peers that cannot both be served. Sections: docs/reference.md §3."""

from datetime import UTC, datetime

import pytest
from cryptography import x509

from isthmus.federation.clashes import refused_by_others
from isthmus.federation.peer import PeerConfig
from isthmus.federation.plan import Endpoint, RemotePeer
from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain

DOMAIN = TrustDomain("green-mesh.local")
FIRST, SECOND = (Authority.self_signed(DOMAIN, now=datetime(2026, 1, 1, tzinfo=UTC)).roots for _ in range(2))


def peer(
    name: str,
    *,
    client: str = "",
    ingress: str = "ingress",
    roots: tuple[x509.Certificate, ...] = FIRST,
    domain: TrustDomain = DOMAIN,
) -> PeerConfig:
    """A peer, of one trust domain unless told otherwise."""
    identity = SpiffeId.service_account(domain, namespace="x", account=client or name)
    bundle = TrustBundle.of(domain, roots)
    remote = RemotePeer(name, "discovery", 1, (Endpoint("a", 1),), (Endpoint("a", 2),), bundle)
    return PeerConfig(name, ingress, "egress", identity, remote)


@pytest.mark.parametrize(
    ("peers", "reasons"),
    [
        ([peer("a"), peer("b")], {}),
        ([peer("a", client="c"), peer("b", client="c")], {"b": "ClientIDTaken"}),
        ([peer("b", client="c"), peer("a", client="c")], {"a": "ClientIDTaken"}),
        ([peer("a", client="c"), peer("b", client="c", ingress="another")], {}),
        ([peer("a"), peer("b", roots=SECOND)], {"b": "TrustDomainTaken"}),
        ([peer("a"), peer("b", roots=(*FIRST, *SECOND))], {}),
        ([peer("a"), peer("d", roots=SECOND, domain=TrustDomain("d"))], {}),
        (
            [peer("a", client="c"), peer("b", client="c", roots=SECOND), peer("d", roots=SECOND)],
            {"b": "ClientIDTaken", "d": "TrustDomainTaken"},
        ),
        ([peer("a"), peer("b", client="c", roots=SECOND), peer("d", client="c")], {"b": "TrustDomainTaken"}),
    ],
)
def test_the_later_of_two_is_refused(peers: list[PeerConfig], reasons: dict[str, str]) -> None:
    """One clientID at one gateway, or one trust domain with roots that have none in common: the older is served. One
    that is refused itself stands in nobody's way."""
    assert {name: each.reason for name, each in refused_by_others(peers).items()} == reasons


def test_the_message_names_the_other() -> None:
    """Who is in the way, and what both have, is said."""
    (told,) = refused_by_others([peer("a", client="c"), peer("b", client="c")]).values()
    assert "green-mesh.local/ns/x/sa/c is that of ServiceMeshPeer a already" in str(told)
    (told,) = refused_by_others([peer("a"), peer("b", roots=SECOND)]).values()
    assert "trust domain green-mesh.local is that of ServiceMeshPeer a already" in str(told)
