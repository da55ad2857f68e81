"""What a mesh may say of itself, and what is refused."""

import msgspec
import pytest
from tests.federation.meshes import introduction

from isthmus.federation.introduction import InvalidIntroductionError, address_problem

GREEN = introduction("green", "red")


def test_an_introduction_becomes_a_peer() -> None:
    """The resource says all that the introduction says, under the name that we give the peer."""
    GREEN.check()
    made = GREEN.peer(name="green-mesh", namespace="red-mesh-system", ingress="in", egress="out")
    assert made.metadata.labels == {"isthmus.io/link": "green-mesh"}
    assert msgspec.to_builtins(made.spec) == {
        "remote": {"addresses": ("ingress-red-mesh.green-mesh-system.apps.green.test",), "discoveryPort": 8188}
        | {"servicePort": 15443},
        "gateways": {"ingress": {"name": "in"}, "egress": {"name": "out"}},
        "security": {
            "trustDomain": "green.local",
            "clientID": "green.local/ns/green-mesh-system/sa/egress-red-mesh-service-account",
            "certificateChain": {"name": "green-mesh-ca-root-cert"},
        },
    }


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("mesh", "Green", "expected a DNS label"),
        ("mesh", "green\n", "expected a DNS label"),
        ("namespace", "a.b", "expected a DNS label"),
        ("trust_domain", "green local", "Invalid trust domain"),
        ("trust_domain", "red.local", "expected the egress gateway of that mesh"),
        ("client_id", "green.local/ns/other/sa/egress", "expected the egress gateway of that mesh"),
        ("client_id", "green.local/ns/green-mesh-system/sa/", "empty segment"),
        ("client_id", "green.local/ns/green-mesh-system/sa", "expected the egress gateway of that mesh"),
        ("client_id", "spiffe://green.local/ns/green-mesh-system/sa/x", "without the scheme"),
        ("root", "", "the text is empty"),
        ("root", "-----BEGIN CERTIFICATE-----\nAAAA", "cut or damaged"),
        ("addresses", ("green.test", "127.0.0.1"), "this machine itself"),
    ],
)
def test_what_cannot_be_is_refused(field: str, value: object, told: str) -> None:
    """Each part is checked, and the message names what was expected."""
    with pytest.raises(InvalidIntroductionError, match=told):
        msgspec.structs.replace(GREEN, **{field: value}).check()


@pytest.mark.parametrize(
    "address",
    ["ingress.example.com", "ingress.example.com.", "10.0.0.7", "2001:db8::7", "a_b.example.com", "gateway", "x.svc"],
)
def test_addresses_of_gateways(address: str) -> None:
    """Names and routable addresses, private ones too, may be a gateway's."""
    assert address_problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        *("", ".", "a..b", "a b", "-a.example.com", "exa mple.com", "http://x", "x:8188", "[::1]", "x" * 64, "é.com"),
        *("a." * 127 + "toolong", "x\n", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "1.2.3.4.5"),
        *("127.0.0.1", "::1", "::ffff:127.0.0.1", "::", "localhost", "a.LOCALHOST", "localhost."),
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "2001:db8::1%1", "224.0.0.1", "ff02::1", "255.255.255.255"),
        "0.0.0.0",  # noqa: S104 -- nothing is bound to it here
        *("240.0.0.1", "::ffff:169.254.169.254"),
    ],
)
def test_addresses_that_lead_astray(address: str) -> None:
    """This machine, what only this link knows, what is written to look like a name, and what is no address."""
    assert address_problem(address)
