"""Every kind of resource as reviewed, in golden files; all accepted by a real Envoy; the same plan, the same bytes."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Golden
from tests.envoy import plans
from tests.envoy.conftest import ENVOY, bootstrap

from isthmus.api.logs import AccessLogFile
from isthmus.envoy import cluster, egress, endpoint, ingress, message, secret, tls
from isthmus.envoy.access_format import OPERATORS
from isthmus.federation.names import MAX_SERVER_NAME_BYTES, outbound_sni
from isthmus.federation.plan import EgressPlan, Endpoint, IngressPlan, RemotePeer
from isthmus.federation.ports import FIRST_PORT, LAST_PORT

ADS = {"ads": {}, "resource_api_version": "V3"}
SERVER_NAME = "outbound_.9080_._.reviews.bookinfo.svc.red-mesh-exports.local"
ENDPOINTS = [Endpoint("10.1.2.4", 9080), Endpoint("10.1.2.3", 9080), Endpoint("2001:db8::5", 9080)]

EVERY_OPERATOR = " ".join(
    f"%{name}(:PATH?X-PATH):20%" if name in {"REQ", "RESP"} else f"%{name}%" for name in sorted(OPERATORS)
)
LISTENERS: dict[str, Callable[[], list[Any]]] = {
    "ingress-of-one-peer": lambda: ingress.listeners(plans.INGRESS_OF_ONE, plans.BIND_ADDRESS),
    "ingress-of-no-peer": lambda: ingress.listeners(IngressPlan(plans.CONTROL_PLANE), plans.BIND_ADDRESS),
    "ingress-of-two-peers": lambda: ingress.listeners(plans.INGRESS_OF_TWO, plans.BIND_ADDRESS),
    "ingress-that-invites": lambda: ingress.listeners(plans.INGRESS_THAT_INVITES, plans.BIND_ADDRESS)[:1],
    "ingress-that-logs-text": lambda: ingress.listeners(
        replace(plans.INGRESS_OF_ONE, access_log=AccessLogFile(encoding="TEXT")), plans.BIND_ADDRESS
    ),
    "ingress-that-logs-nothing": lambda: ingress.listeners(
        replace(plans.INGRESS_OF_ONE, access_log=AccessLogFile(name="/dev/null")), plans.BIND_ADDRESS
    ),
    "egress-that-logs-by-every-operator": lambda: [
        egress.discovery(
            replace(plans.EGRESS, access_log=AccessLogFile(name="/dev/stderr", format=EVERY_OPERATOR)),
            plans.BIND_ADDRESS,
        )
    ],
    "egress-of-two-peers": lambda: [egress.discovery(plans.EGRESS, plans.BIND_ADDRESS)],
    "egress-of-no-peer": lambda: egress.listeners(plans.EGRESS_OF_NONE, plans.BIND_ADDRESS),
    "imported-port": lambda: [egress.imports(plans.EGRESS, 16000, plans.BIND_ADDRESS, plans.EGRESS.imports)],
    "imported-port-of-many": lambda: [egress.imports(plans.EGRESS, 16512, plans.BIND_ADDRESS, plans.EGRESS.imports)],
}
ROUTES: dict[str, Callable[[], list[Any]]] = {
    "ingress-routes-of-two-peers": lambda: ingress.routes(plans.INGRESS_OF_TWO),
    "ingress-routes-of-no-peer": lambda: ingress.routes(IngressPlan(plans.CONTROL_PLANE)),
    "egress-routes-of-two-peers": lambda: egress.routes(plans.EGRESS),
}
CLUSTERS: dict[str, Callable[[], list[Any]]] = {
    "cluster-pilot": lambda: [cluster.pilot(plans.CONTROL_PLANE)],
    "cluster-discovery-by-name": lambda: [cluster.discovery(plans.RED)],
    "cluster-discovery-by-address": lambda: [cluster.discovery(plans.BLUE)],
    "cluster-imported": lambda: [cluster.imported(plans.RATINGS, plans.RED)],
    "cluster-exported": lambda: [cluster.exported(SERVER_NAME, plans.REVIEWS)],
}
ASSIGNMENTS: dict[str, Callable[[], list[Any]]] = {
    "load-assignment": lambda: [endpoint.load_assignment(plans.REVIEWS.key, ENDPOINTS)],
    "load-assignment-of-nothing": lambda: [endpoint.load_assignment(plans.REVIEWS.key, [])],
}
SECRETS: dict[str, Callable[[], list[Any]]] = {
    "trust-in-one-peer": lambda: [secret.trust_secret(tls.bundle_name("red-mesh"), [plans.bundle("red")])],
    "trust-in-another-peer": lambda: [secret.trust_secret(tls.bundle_name("blue-mesh"), [plans.bundle("blue")])],
    "trust-in-two-peers": lambda: [secret.trust_secret(tls.ALL_BUNDLES, [plans.bundle("red"), plans.bundle("blue")])],
}
GOLDENS = LISTENERS | ROUTES | CLUSTERS | ASSIGNMENTS | SECRETS


def readable(built: Any) -> Any:
    """The message as values of JSON, each ``Any`` expanded, in the order in which Envoy's documentation has fields."""
    return _maps_sorted(json_format.MessageToDict(built, preserving_proto_field_name=True))


def _maps_sorted(value: Any) -> Any:
    """Fields have an order of their own, keys of a map have none."""
    if isinstance(value, list):
        return [_maps_sorted(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: dict(sorted(each.items())) if key == "json_format" else _maps_sorted(each) for key, each in value.items()
    }


@pytest.mark.parametrize("name", GOLDENS)
def test_the_resource_is_as_reviewed(name: str, golden: Golden) -> None:
    """Each difference to the golden file is a decision."""
    golden(name, [readable(built) for built in GOLDENS[name]()])


def test_each_gateway_port_is_listened_on_by_one_listener() -> None:
    """Blocks have all gateway ports and no others, none of them twice, and no two a name."""
    blocks = sorted({egress.block_of(port) for port in range(FIRST_PORT, LAST_PORT + 1)})
    listeners = [egress.imports(plans.EGRESS, block, plans.BIND_ADDRESS, {}) for block in blocks]
    addresses = [[each.address, *(more.address for more in each.additional_addresses)] for each in listeners]
    ports = [address.socket_address.port_value for each in addresses for address in each]
    assert ports == list(range(FIRST_PORT, LAST_PORT + 1))
    assert len({each.name for each in listeners}) == len(blocks)


def test_an_ingress_without_peers_lets_nobody_in() -> None:
    """Where nobody is trusted there is no listener for services, and that for discovery leads nowhere."""
    plan = IngressPlan(plans.CONTROL_PLANE)
    (listener,) = ingress.listeners(plan, plans.BIND_ADDRESS)
    assert listener.address.socket_address.port_value == 8188
    manager = readable(listener)["filter_chains"][0]["filters"][0]["typed_config"]
    (configured,) = [readable(each) for each in ingress.routes(plan)]
    assert manager["rds"]["route_config_name"] == configured["name"]
    routes = [route for host in configured["virtual_hosts"] for route in host["routes"]]
    assert [set(route) for route in routes] == [{"match", "direct_response"}]


def _distinct(golden: str, document: dict[str, Any]) -> dict[str, Any]:
    """Names and addresses are unique in one gateway only: here each golden file gets its own."""
    text = json.dumps({**document, "name": f"{golden}/{document['name']}"})
    own: dict[str, Any] = json.loads(text.replace(plans.BIND_ADDRESS, f"127.10.1.{list(GOLDENS).index(golden)}"))
    return own


def _goldens(names: dict[str, Any]) -> list[dict[str, Any]]:
    return [_distinct(name, readable(built)) for name in names for built in GOLDENS[name]()]


def _assigned(golden: str) -> list[dict[str, Any]]:
    """A cluster of the endpoints of a golden file."""
    assignments = [readable(built) for built in GOLDENS[golden]()]
    return [{"name": golden, "type": "STATIC", "load_assignment": each} for each in assignments]


def _trusting(golden: str) -> list[dict[str, Any]]:
    """Clusters that trust by the secrets of a golden file, which makes Envoy read what is in them."""
    return [
        {
            "name": f"{golden}/{built.name}",
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": {"validation_context_sds_secret_config": {"name": built.name}},
                },
            },
        }
        for built in GOLDENS[golden]()
    ]


def _routed(golden: str) -> list[dict[str, Any]]:
    """Listeners with the routes of a golden file in them."""
    discovery = readable(egress.discovery(plans.EGRESS, plans.BIND_ADDRESS))
    (chain,) = discovery["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = readable(GOLDENS[golden]()[0])
    return [_distinct(golden, discovery)]


def _with_static_secrets(document: Any) -> Any:
    """The cluster with secrets of the bootstrap rather than of the aggregated stream.

    Clusters of a bootstrap are made before that stream is, which Envoy does not survive if they ask it for secrets.
    """
    if isinstance(document, list):
        return [_with_static_secrets(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {key: _with_static_secrets(each) for key, each in document.items() if (key, each) != ("sds_config", ADS)}


def _all_in_one(folder: Path) -> dict[str, Any]:
    """A bootstrap with everything; secrets that listeners name come over the aggregated stream."""
    config: dict[str, Any] = bootstrap(folder)
    config["static_resources"]["listeners"] = [
        *_goldens(LISTENERS),
        *(each for name in ROUTES for each in _routed(name)),
    ]
    config["static_resources"]["clusters"] += [
        *_with_static_secrets(_goldens(CLUSTERS)),
        *(each for name in ASSIGNMENTS for each in _assigned(name)),
        *(each for name in SECRETS for each in _trusting(name)),
    ]
    config["static_resources"]["secrets"] = [readable(built) for name in SECRETS for built in GOLDENS[name]()]
    return config


async def _validate(config: dict[str, Any], folder: Path) -> tuple[int, str]:
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        *(ENVOY, "--mode", "validate", "-c", path, "-l", "warning"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.envoy
@pytest.mark.slow
async def test_envoy_accepts_all_of_it(folder: Path) -> None:
    """A real Envoy validates every golden resource, and finds nothing deprecated."""
    code, output = await _validate(_all_in_one(folder), folder)
    assert code == 0, output
    assert "eprecated" not in output


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN NOTHING-----"),
        ("set_filter_state.v3.Config", "set_filter_state.v3.Nothing"),
        ("::5", "::5::"),
    ],
    ids=["root", "filter", "address"],
)
async def test_the_validation_sees_what_is_wrong(folder: Path, good: str, bad: str) -> None:
    """Envoy looks into secrets, filters and endpoints: broken, each of them is refused."""
    text = json.dumps(_all_in_one(folder))
    assert good in text
    code, _ = await _validate(json.loads(text.replace(good, bad)), folder)
    assert code == 1


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.parametrize(("more", "expected"), [(0, 0), (1, 1)], ids=["longest", "longer"])
async def test_a_server_name_has_a_longest(folder: Path, more: int, expected: int) -> None:
    """Envoy takes a name of as many bytes as an import may have, and none that is longer."""
    rest = MAX_SERVER_NAME_BYTES + more - len(outbound_sni("", plans.RATINGS.service_port))
    named = replace(plans.RATINGS, hostname="x" * rest)
    config: dict[str, Any] = bootstrap(folder)
    built = [readable(cluster.imported(named, plans.RED))]
    config["static_resources"]["clusters"] += _with_static_secrets(built)
    config["static_resources"]["secrets"] = [readable(each) for each in SECRETS["trust-in-one-peer"]()]
    code, output = await _validate(config, folder)
    assert code == expected, output


def _serialised(built: list[Any]) -> list[bytes]:
    return [message.serialised(each) for each in built]


@st.composite
def permuted_remotes(draw: st.DrawFn) -> RemotePeer:
    """Blue with its addresses in any order."""
    return replace(
        plans.BLUE,
        discovery=tuple(draw(st.permutations(plans.BLUE.discovery))),
        services=tuple(draw(st.permutations(plans.BLUE.services))),
    )


@given(st.permutations(plans.INGRESS_OF_TWO.peers))
def test_an_ingress_plan_in_any_order_gives_the_same_bytes(peers: list[Any]) -> None:
    """The order in which peers became known shows nowhere in listeners and secrets."""
    plan = IngressPlan(plans.CONTROL_PLANE, tuple(peers))
    assert _serialised(ingress.listeners(plan, "127.0.0.1")) == _serialised(
        ingress.listeners(plans.INGRESS_OF_TWO, "127.0.0.1")
    )
    assert _serialised(ingress.routes(plan)) == _serialised(ingress.routes(plans.INGRESS_OF_TWO))
    first, second = (
        secret.trust_secret(tls.ALL_BUNDLES, [peer.bundle for peer in each])
        for each in (peers, plans.INGRESS_OF_TWO.peers)
    )
    assert message.serialised(first) == message.serialised(second)


@given(permuted_remotes(), st.booleans(), st.permutations(list(plans.EGRESS.imports)))
def test_an_egress_plan_in_any_order_gives_the_same_bytes(
    blue: RemotePeer, is_reversed: bool, gateway_ports: list[int]
) -> None:
    """The order of peers, of their addresses and of imports shows nowhere in listeners and clusters."""
    peers = (blue, plans.RED) if is_reversed else (plans.RED, blue)
    imports = {number: plans.EGRESS.imports[number] for number in gateway_ports}
    plan = EgressPlan(plans.CONTROL_PLANE, peers, imports)
    assert _serialised(egress.listeners(plan, "127.0.0.1")) == _serialised(egress.listeners(plans.EGRESS, "127.0.0.1"))
    assert _serialised(egress.routes(plan)) == _serialised(egress.routes(plans.EGRESS))
    assert message.serialised(cluster.discovery(blue)) == message.serialised(cluster.discovery(plans.BLUE))
    assert message.serialised(cluster.imported(plans.DETAILS, blue)) == message.serialised(
        cluster.imported(plans.DETAILS, plans.BLUE)
    )


@given(st.permutations(plans.RATINGS.servers), st.permutations(ENDPOINTS))
def test_servers_and_endpoints_in_any_order_give_the_same_bytes(servers: list[Any], endpoints: list[Endpoint]) -> None:
    """The order in which a peer names its gateways, or in which pods come up, shows nowhere."""
    port = replace(plans.RATINGS, servers=tuple(servers))
    assert message.serialised(cluster.imported(port, plans.RED)) == message.serialised(
        cluster.imported(plans.RATINGS, plans.RED)
    )
    assert message.serialised(endpoint.load_assignment("x", [*endpoints, *endpoints])) == message.serialised(
        endpoint.load_assignment("x", ENDPOINTS)
    )
