"""What the egress gateway has to do for an import, as far as the peer's own words allow."""

import pytest

from isthmus.federation.import_table import Import
from isthmus.federation.imports import ImportedName
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.federation.names import MAX_SERVER_NAME_BYTES, outbound_sni
from isthmus.federation.ports import PortBook
from isthmus.federation.selection import QualifiedName
from isthmus.federation.workload import workload
from isthmus.identity import TrustDomain

GREEN = TrustDomain("green-mesh.local")
INGRESS = "spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account"
SUFFIX = ".bookinfo.svc.red-mesh-exports.local"


def ports_of(hostname: str, *accounts: str) -> list[int]:
    """The ports of an import, with ports 80 and 8080 there, that its gateway has a cluster for."""
    ports = (ServicePort("http", 80, "HTTP"), ServicePort("more", 8080, "HTTP"))
    message = ServiceMessage("ratings", "bookinfo", hostname, service_ports=ports, service_accounts=accounts)
    called = ImportedName(QualifiedName("bookinfo", "ratings"), "ratings.bookinfo.svc.green-mesh-imports.local")
    made = workload(Import("green-mesh", message, called), namespace="red-mesh-system", book=PortBook())
    return [each.service_port for each in made.gateway_ports(GREEN)]


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ((INGRESS,), [80, 8080]),
        ((), []),
        ((INGRESS.replace("green", "blue"), "nonsense"), []),
    ],
    ids=["the peer's", "none", "another mesh's"],
)
def test_somebody_of_the_peer_must_answer(accounts: tuple[str, ...], expected: list[int]) -> None:
    """Without an identity of the peer's trust domain nothing leads to it."""
    assert ports_of(f"ratings{SUFFIX}", *accounts) == expected


def test_a_name_that_is_too_long_leads_nowhere() -> None:
    """A peer may tell names that Envoy refuses: there is nothing for these, and each port counts by itself."""
    longest = "x" * (MAX_SERVER_NAME_BYTES - len(outbound_sni(SUFFIX, 80)))
    assert ports_of(longest + SUFFIX, INGRESS) == [80]
    assert ports_of(f"{longest}x{SUFFIX}", INGRESS) == []


@pytest.mark.parametrize("name", ["ratingsé", "ratings\n", "ra\0tings", "ra tings"])
def test_a_name_that_is_no_dns_name_leads_nowhere(name: str) -> None:
    """A peer may tell names that no handshake can carry, or only a part of."""
    assert ports_of(name + SUFFIX, INGRESS) == []
