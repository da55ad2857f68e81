"""What a gateway is told, and the names that follow."""

from pathlib import Path

import pytest
from tests.gateway.settings import SETTINGS

from isthmus.gateway import DnsServer


def test_names_follow_from_the_gateways_name_and_mesh() -> None:
    """Identities of gateway and pilot, and the name that the pilot's certificate bears."""
    assert str(SETTINGS.identity) == ("spiffe://red-mesh.local/ns/gateways/sa/egress-green-mesh-service-account")
    assert str(SETTINGS.pilot_identity) == "spiffe://red-mesh.local/ns/red-mesh-system/sa/istiod-red-mesh"
    assert SETTINGS.pilot_server_name == "istiod-red-mesh.red-mesh-system.svc"
    assert SETTINGS.token_path == Path("/var/run/secrets/tokens/istio-token")


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [("127.0.0.53:5353", "127.0.0.53", 5353), ("[fd00::53]:53", "fd00::53", 53)],
)
def test_a_dns_server_survives_being_written_and_read(text: str, address: str, port: int) -> None:
    """IPv4, and IPv6 in brackets."""
    assert DnsServer.parse(text) == DnsServer(address, port)
    assert str(DnsServer(address, port)) == text


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", ":53", "dns.local:53", "127.0.0.1:x", "127.0.0.1:0", "1.2.3.4:65536"]
)
def test_what_is_no_dns_server_is_refused(text: str) -> None:
    """Names cannot be resolved before there is a resolver; a port has to be given."""
    with pytest.raises(ValueError, match="Invalid DNS server"):
        DnsServer.parse(text)
