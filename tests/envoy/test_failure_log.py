"""What real gateways report to their control plane of calls that fail."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh
from tests.envoy.test_data_path import (
    EGRESS,
    INGRESS,
    PILOT,
    Federation,
    client_context,
    discover,
    federation,
    request,
    resources,
    right_headers,
    wait_served,
)

from isthmus.envoy import cluster, ingress, message
from isthmus.federation.plan import ControlPlane, Endpoint, IngressPlan

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
__all__ = ["federation"]


async def test_a_caller_of_another_root_is_reported(federation: Federation, folder: Path) -> None:
    """The ingress gateway tells where the caller came from, what it asked for, and why TLS failed."""
    await wait_served()
    impostor = client_context(Mesh.named("red"), "egress-service-account", folder / "in")
    assert await discover(impostor, INGRESS, "/v1/watch") == (0, "")
    found = await federation.ingress.wait_report("refused")
    assert found.source.startswith("127.")
    assert "CERTIFICATE_VERIFY_FAILED" in found.failure
    assert found.server_name == "anything.example"


async def test_a_caller_of_another_identity_is_reported(federation: Federation, folder: Path) -> None:
    """The ingress gateway tells who the caller has proved to be."""
    await wait_served()
    other = client_context(federation.red, "default", folder)
    assert (await discover(other, INGRESS, "/v1/watch"))[0] == 403
    found = await federation.ingress.wait_report("discovery")
    assert (found.status, found.identity) == (403, str(federation.red.account("default")))
    assert "rbac" in found.details


async def test_a_call_that_does_not_arrive_is_reported(federation: Federation, folder: Path) -> None:
    """The egress gateway tells for which peer it called, where, and what went wrong."""
    await wait_served()
    nowhere = replace(federation.peer(), discovery=(Endpoint(INGRESS, 8189),))
    federation.connect(nowhere)
    pilot = client_context(federation.red, "istiod", folder)
    headers = {**right_headers(federation), "isthmus_peer_version": nowhere.version}
    while (await discover(pilot, EGRESS, "/v1/watch", **headers))[0] == 404:
        pass  # the gateway has the former description still
    found = await federation.egress.wait_report("discovery", status=503)
    assert (found.peer, found.upstream) == ("green-mesh", INGRESS)
    assert "upstream_connection_failure" in found.flags
    assert "onnection refused" in found.failure


async def test_a_call_of_an_import_that_does_not_arrive_is_reported(federation: Federation) -> None:
    """The egress gateway tells which peer cannot be called, and why; who called gets nothing."""
    await wait_served()
    federation.connect(federation.peer(), servers=(federation.green.account("someone-else"),))
    while await request(EGRESS, 20001):
        pass  # the gateway believes the former identity still
    found = await federation.egress.wait_report("calls")
    assert (found.peer, found.flags[:1]) == ("green-mesh", ("upstream_connection_failure",))
    assert "CERTIFICATE_VERIFY_FAILED" in found.failure


async def test_what_succeeds_is_not_reported(federation: Federation) -> None:
    """Requests that are served cost no report."""
    for _ in range(3):
        await wait_served()
    assert federation.ingress.reports == federation.egress.reports == []


async def test_a_gateway_without_peers_says_so_to_anyone(federation: Federation, folder: Path) -> None:
    """It answers discovery with 404 and a sentence, to whoever calls, and has no port for services."""
    await wait_served()
    plan = IngressPlan(ControlPlane(PILOT, federation.green.account("istiod")))
    federation.ingress.table.replace(message.CLUSTER, resources([cluster.pilot(plan.control_plane)]))
    federation.ingress.table.replace(message.LISTENER, resources(ingress.listeners(plan, INGRESS)))
    federation.ingress.table.replace(message.ROUTES, resources(ingress.routes(plan)))
    stranger = client_context(Mesh.named("blue"), "egress-service-account", folder / "in")
    while (found := await discover(stranger, INGRESS, "/v1/watch"))[0] == 0:
        pass  # the gateway admits its peer still, and nobody else
    assert found == (404, "no ServiceMeshPeer here is served by this gateway\n")
    assert await request(INGRESS, 15443, context=stranger, sni=f"outbound_.9080_._.{INGRESS}") == b""
