"""What a ServiceMeshPeer means. Sections: docs/reference.md §3."""

from datetime import UTC, datetime

import msgspec
import pytest

from isthmus.api import ServiceMeshPeer
from isthmus.federation.peer import Mesh, PeerConfigError, peer_config
from isthmus.federation.plan import Endpoint
from isthmus.identity import Authority, TrustBundle, TrustDomain

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def bundle(domain: str) -> TrustBundle:
    trust_domain = TrustDomain(domain)
    return TrustBundle.of(trust_domain, Authority.self_signed(trust_domain, now=NOW).roots)


RED, GREEN = bundle("red-mesh.local"), bundle("green-mesh.local")
MESH = Mesh("red-mesh", "red-mesh-system", RED)
ROOTS = {"root-cert.pem": GREEN.pem().decode()}
CLIENT = "green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"


def peer(*, trust_domain: str = "green-mesh.local", client: str = CLIENT, **remote: object) -> ServiceMeshPeer:
    chain = {"kind": "ConfigMap", "name": "green-mesh-ca-root-cert"}
    resource = {
        "metadata": {"name": "green-mesh", "namespace": "red-mesh-system"},
        "spec": {
            "remote": {"addresses": ["ingress-red-mesh.green-mesh-system.apps.domain.com"], **remote},
            "gateways": {"ingress": {"name": "ingress-green-mesh"}, "egress": {"name": "egress-green-mesh"}},
            "security": {"trustDomain": trust_domain, "clientID": client, "certificateChain": chain},
        },
    }
    return msgspec.convert(resource, ServiceMeshPeer)


def test_the_documented_peer() -> None:
    """The example of the documentation is understood, with the default ports."""
    config = peer_config(peer(), ROOTS, MESH)
    assert str(config.client) == f"spiffe://{CLIENT}"
    assert config.remote.discovery == (Endpoint("ingress-red-mesh.green-mesh-system.apps.domain.com", 8188),)
    assert config.remote.services == (Endpoint("ingress-red-mesh.green-mesh-system.apps.domain.com", 15443),)
    assert config.remote.discovery_name == "discovery.red-mesh-system.svc.green-mesh.local"
    assert config.remote.bundle == GREEN


def test_the_checksum_is_of_what_is_written() -> None:
    """Defaults are not applied before hashing (docs/protocol.md §4)."""
    written = peer_config(peer(discoveryPort=8188, servicePort=15443), ROOTS, MESH)
    left_out = peer_config(peer(), ROOTS, MESH)
    assert written.remote.discovery == left_out.remote.discovery
    assert written.remote.remote_checksum != left_out.remote.remote_checksum


def test_a_peer_of_our_own_trust_domain_is_vouched_for_by_our_root() -> None:
    """No ConfigMap is read when the trust domain is ours."""
    client = "red-mesh.local/ns/other-system/sa/egress-service-account"
    assert peer_config(peer(trust_domain="red-mesh.local", client=client), None, MESH).remote.bundle == RED


def test_a_peer_of_an_alias_is_vouched_for_by_our_root() -> None:
    """A trust domain that is an alias of ours is ours: our root vouches for it, whatever ConfigMap there is."""
    mesh = Mesh("red-mesh", "red-mesh-system", RED, aliases=(TrustDomain("old.local"),))
    aliased = peer(trust_domain="old.local", client="old.local/ns/other-system/sa/egress-service-account")
    for roots in (None, ROOTS):
        found = peer_config(aliased, roots, mesh).remote.bundle
        assert (found.trust_domain, found.roots) == (TrustDomain("old.local"), RED.roots)
    with pytest.raises(PeerConfigError):
        peer_config(aliased, None, MESH)


@pytest.mark.parametrize(
    ("resource", "roots", "reason", "says"),
    [
        (peer(), None, "RootNotFound", "red-mesh-system/green-mesh-ca-root-cert does not exist"),
        (peer(), {"ca.crt": "x"}, "RootKeyMissing", "no key root-cert.pem (its keys: ca.crt)"),
        (peer(), {"root-cert.pem": "x"}, "RootInvalid", "key root-cert.pem"),
        (peer(trust_domain="blue.local"), ROOTS, "ClientOutsideTrustDomain", "blue.local"),
    ],
)
def test_what_cannot_be_used_says_why(
    resource: ServiceMeshPeer, roots: dict[str, str] | None, reason: str, says: str
) -> None:
    """Each defect has a reason of its own and a message that names the object."""
    with pytest.raises(PeerConfigError) as caught:
        peer_config(resource, roots, MESH)
    assert caught.value.reason == reason
    assert says in str(caught.value)


def test_a_root_that_is_added_breaks_nothing_and_one_that_goes_does() -> None:
    """``trusted_as`` stays while roots are only added, and is another once a root is taken away."""
    second = bundle("green-mesh.local").pem().decode()
    old, both, new = (ROOTS, {"root-cert.pem": ROOTS["root-cert.pem"] + second}, {"root-cert.pem": second})
    first = peer_config(peer(), old, MESH).following(None)
    rotating = peer_config(peer(), both, MESH).following(first)
    rotated = peer_config(peer(), new, MESH).following(rotating)
    assert first.trusted_as == rotating.trusted_as != rotated.trusted_as
    assert rotated.trusted_as == peer_config(peer(), new, MESH).following(None).trusted_as
    assert rotated.admitted.trusted_as == rotated.trusted_as
    assert [each.admitted.roots_taken_away for each in (first, rotating, rotated)] == [0, 0, 1]
    assert rotated.following(rotated).roots_taken_away == 1


@pytest.mark.parametrize("name", ["green.mesh", "g" * 64, "Green"])
def test_a_name_that_is_no_dns_label_is_refused(name: str) -> None:
    """The name becomes part of host names, so that it must be a label of one."""
    resource = peer()
    resource.metadata.name = name
    with pytest.raises(PeerConfigError) as caught:
        peer_config(resource, ROOTS, MESH)
    assert caught.value.reason == "InvalidName"


def test_a_peer_of_another_trust_domain_is_described_otherwise() -> None:
    """The same roots for another trust domain are another trust: a gateway that has the former refuses the call."""
    green = peer_config(peer(), ROOTS, MESH).remote
    client = "blue-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"
    blue = peer_config(peer(trust_domain="blue-mesh.local", client=client), ROOTS, MESH).remote
    assert green.bundle.roots == blue.bundle.roots
    assert green.version != blue.version
