"""Names between meshes. Sections: docs/protocol.md §1 to §3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.federation.names import (
    RequestedService,
    discovery_name,
    exported_hostname,
    exported_to,
    outbound_sni,
    parse_sni,
)


def test_names() -> None:
    """The names that both meshes agree on are spelt as the protocol has them."""
    assert exported_hostname("ratings", "bookinfo", "red-mesh") == "ratings.bookinfo.svc.red-mesh-exports.local"
    assert discovery_name("green-mesh", "red-mesh-system") == "discovery.red-mesh-system.svc.green-mesh.local"


@pytest.mark.parametrize(
    ("server_name", "requested"),
    [
        ("outbound_.9080_._.ratings.bookinfo.svc.x.local", RequestedService("ratings.bookinfo.svc.x.local", 9080)),
        ("ratings.bookinfo.svc.x.local", RequestedService("ratings.bookinfo.svc.x.local", None)),
        ("outbound_.9080_.v1_.ratings", RequestedService("outbound_.9080_.v1_.ratings", None)),
        ("outbound_.999999_._.ratings", RequestedService("outbound_.999999_._.ratings", None)),
        ("", RequestedService("", None)),
    ],
)
def test_server_names(server_name: str, requested: RequestedService) -> None:
    """A server name carries a port or leaves it open; what has another shape is a host name."""
    assert parse_sni(server_name) == requested


@given(st.from_regex(r"[a-z0-9.-]{1,40}", fullmatch=True), st.integers(1, 65535))
def test_server_names_round_trip(hostname: str, port: int) -> None:
    """What an importer asks for is what an exporter reads."""
    assert parse_sni(outbound_sni(hostname, port)) == RequestedService(hostname, port)


@pytest.mark.parametrize(
    ("hostname", "peer"),
    [
        ("ratings.bookinfo.svc.red-mesh-exports.local", "red-mesh"),
        ("ratings.bookinfo.svc.red.mesh-exports.local", None),
        ("ratings.bookinfo.svc.cluster.local", None),
        ("svc.red-mesh-exports.local", None),
        (".svc.red-mesh-exports.local", None),
    ],
)
def test_whom_an_exported_name_is_for(hostname: str, peer: str | None) -> None:
    """The suffix of an exported name tells the peer."""
    assert exported_to(hostname) == peer
