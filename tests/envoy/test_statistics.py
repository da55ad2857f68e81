"""What gateways tell Prometheus, by real Envoys that keep what a gateway keeps: each peer apart, and no service."""

from pathlib import Path

import httpx2
import pytest
from tests.envoy import test_data_path as data_path
from tests.envoy.conftest import Proxy
from tests.envoy.test_data_path import (
    EGRESS,
    EXPORTED,
    INGRESS,
    Federation,
    client_context,
    discover,
    echo_pilot,
    request,
    resources,
    right_headers,
    wait_served,
)
from tests.prometheus import Series, series
from tests.waiting import until

from isthmus.envoy import cluster, message
from isthmus.federation.plan import ImportedPort

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
federation = data_path.federation
GREEN, RED = {"peer": "green-mesh"}, {"peer": "red-mesh"}


async def scrape(proxy: Proxy) -> Series:
    """All series of one Envoy."""
    transport = httpx2.AsyncHTTPTransport(uds=str(proxy.folder / "admin.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://envoy", timeout=5) as client:
        return series((await client.get("/stats/prometheus")).text)


async def wait_count(proxy: Proxy, name: str, count: int, **labels: str) -> None:
    """Wait until Envoy, which merges the counts of its workers now and then, has counted so much, or more."""
    key = f"envoy_{name}", frozenset(labels.items())

    async def is_counted() -> bool:
        return (await scrape(proxy)).get(key, -1) >= count

    await until(is_counted)


async def test_traffic_is_counted_by_peer(federation: Federation) -> None:
    """Connections of two imports from one peer add up on both sides; no series names a service or a port of it."""
    await wait_served()
    other = ImportedPort(20002, "green-mesh", EXPORTED, 9080, (federation.green.account("ingress-service-account"),))
    federation.egress.table.put(message.CLUSTER, resources([cluster.imported(other, federation.peer())])[0])
    await wait_served(port=20002)
    await wait_count(federation.egress, "cluster_upstream_cx_total", 2, cluster="outbound", **GREEN)
    await wait_count(federation.ingress, "tcp_downstream_cx_total", 2, direction="inbound", **RED)
    await wait_count(federation.ingress, "cluster_upstream_cx_total", 2, cluster="inbound", **RED)
    for proxy in (federation.ingress, federation.egress):
        told = {value for _, labels in await scrape(proxy) for _, value in labels}
        assert not [value for value in told if "ratings" in value or value.startswith(("import|", "export|"))]


async def test_counts_outlive_a_cluster(federation: Federation) -> None:
    """An import that goes takes nothing away from what was counted of its peer."""
    await wait_served()
    other = ImportedPort(20002, "green-mesh", EXPORTED, 9080, (federation.green.account("ingress-service-account"),))
    federation.egress.table.put(message.CLUSTER, resources([cluster.imported(other, federation.peer())])[0])
    await wait_served(port=20002)
    await wait_count(federation.egress, "cluster_upstream_cx_total", 2, cluster="outbound", **GREEN)
    federation.egress.table.remove(message.CLUSTER, cluster.import_cluster_name(20002))
    await wait_count(federation.egress, "cluster_manager_cluster_removed", 1)
    await wait_served()
    await wait_count(federation.egress, "cluster_upstream_cx_total", 3, cluster="outbound", **GREEN)


async def test_refusals_are_counted_by_peer(federation: Federation, folder: Path) -> None:
    """A caller of another identity, and a name that is not exported, count for the peer that they came from."""
    await wait_served()
    server_name = f"outbound_.9080_._.{EXPORTED}"
    await request(INGRESS, 15443, context=client_context(federation.red, "default", folder), sni=server_name)
    await wait_count(federation.ingress, "inbound_rbac_denied", 1, **RED)
    right = client_context(federation.red, "egress-service-account", folder)
    await request(INGRESS, 15443, context=right, sni=server_name.replace("ratings", "details"))
    await wait_count(federation.ingress, "tcp_on_demand_cluster_missing", 1, direction="inbound", **RED)
    federation.connect(federation.peer(), servers=(federation.green.account("impostor"),))
    await request(EGRESS, 20001)

    async def is_refused() -> bool:
        return not await request(EGRESS, 20001)

    await until(is_refused)
    await wait_count(federation.egress, "cluster_ssl_fail_verify_san", 1, cluster="outbound", **GREEN)


async def test_discovery_is_counted_by_peer(federation: Federation, folder: Path) -> None:
    """Calls for a peer's services count for the peer at both gateways, by class of the answer."""
    await wait_served()
    pilot = client_context(federation.red, "istiod", folder)
    async with await echo_pilot(federation.green, folder):
        assert (await discover(pilot, EGRESS, "/v1/watch", **right_headers(federation)))[0] == 200
        answered = {"envoy_response_code_class": "2"}
        await wait_count(federation.egress, "cluster_upstream_rq_xx", 1, cluster="discovery", **GREEN, **answered)
        await wait_count(federation.ingress, "vhost_discovery_route_upstream_rq_xx", 1, **RED, **answered)
