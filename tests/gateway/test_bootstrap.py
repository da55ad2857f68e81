"""The configuration that Envoy starts with."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2
from google.protobuf import json_format
from tests.conftest import Golden
from tests.gateway.settings import SETTINGS

from isthmus.envoy.http import discovery_route, http_filter, route_configuration
from isthmus.envoy.message import packed, socket_address
from isthmus.gateway.bootstrap import Sockets, bootstrap, bootstrap_json
from isthmus.gateway.settings import GatewaySettings
from isthmus.identity import SpiffeId, TrustDomain

SOCKETS = Sockets(Path())
VARIANTS = {
    "bootstrap": SETTINGS,
    "bootstrap-system-dns": replace(SETTINGS, dns_server=None),
}


def in_order_of_fields(message: Any) -> Any:
    """The message as values of JSON, fields in the order in which Envoy's documentation has them, for people."""
    return json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_bootstrap_is_as_reviewed(name: str, golden: Golden) -> None:
    """Each difference to the golden file is a decision."""
    golden(name, in_order_of_fields(bootstrap(VARIANTS[name], SOCKETS)))


def test_a_pilot_of_an_alias_is_believed() -> None:
    """The pilot may prove itself in any trust domain of the mesh."""
    text = bootstrap_json(bootstrap(replace(SETTINGS, trust_domain_aliases=(TrustDomain("old.local"),)), SOCKETS))
    for domain in ("red-mesh.local", "old.local"):
        assert f"spiffe://{domain}/ns/red-mesh-system/sa/istiod-red-mesh" in text


def test_the_file_says_what_was_reviewed() -> None:
    """JSON of the file and golden file are the same message."""
    message = bootstrap(SETTINGS, SOCKETS)
    assert json.loads(bootstrap_json(message)) == in_order_of_fields(message)


def test_the_same_settings_give_the_same_bytes() -> None:
    """No order of a set or dictionary shows."""
    assert bootstrap_json(bootstrap(SETTINGS, SOCKETS)) == bootstrap_json(bootstrap(SETTINGS, SOCKETS))


@pytest.mark.envoy
@pytest.mark.slow
async def test_envoy_accepts_the_longest_identity(tmp_path: Path, envoy: Path) -> None:
    """A peer whose names are as long as they may be is let in like any other: its route is no error."""
    labels = "n" * 63, "-".join(["a" * 80] * 3)
    longest = SpiffeId.service_account(TrustDomain("d." * 127 + "d"), namespace=labels[0], account=labels[1])
    route = discovery_route(path="/v1/watch/green-mesh", peer="green-mesh", cluster="pilot", client=longest)
    manager = manager_pb2.HttpConnectionManager(
        stat_prefix="test",
        route_config=route_configuration("test", [route]),
        http_filters=[http_filter("router", router_pb2.Router())],
    )
    message = bootstrap(SETTINGS, SOCKETS)
    name = "envoy.filters.network.http_connection_manager"
    chain = {"filters": [{"name": name, "typed_config": packed(manager)}]}
    message.static_resources.listeners.add(name="test", address=socket_address("127.0.0.1", 1), filter_chains=[chain])
    assert await refusal(envoy, tmp_path, bootstrap_json(message)) == ""


async def refusal(envoy: Path, folder: Path, text: str) -> str:
    """What Envoy says against a configuration; empty if it takes it."""
    config = folder / "bootstrap.json"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *(envoy, "--mode", "validate", "-c", config, "-l", "warning"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode() if process.returncode or b"eprecated" in output else ""


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("json_log", [True, False])
async def test_envoy_accepts_the_bootstrap(
    settings: GatewaySettings, json_log: bool, tmp_path: Path, envoy: Path
) -> None:
    """A real Envoy validates it, and finds nothing deprecated in it."""
    assert await refusal(envoy, tmp_path, bootstrap_json(bootstrap(settings, SOCKETS, json_log=json_log))) == ""
