"""The control plane as a whole on a lab's API server: gateways, discovery, status."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from tests.pilot.red import (
    EXPORT_ALL,
    FORWARDED,
    IMPORT_ALL,
    NAMESPACE,
    POD_IP,
    Red,
    peer,
    red_cluster,
    service,
    settings,
)
from tests.waiting import until
from tests.xds.transcript import Transcript

from isthmus.envoy.message import CLUSTER, LISTENER
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import ServicePort, parse_service_list, parse_watch_event
from isthmus.pilot.settings import DISCOVERY_PORT, XDS_PORT
from isthmus.xds import AGGREGATED

pytestmark = pytest.mark.slow

INGRESS, EGRESS = "ingress-green-mesh-service-account", "egress-green-mesh-service-account"
REVIEWS = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec: {ports: [{name: http, port: 9080, targetPort: 8080}]}
"""


@asynccontextmanager
async def gateway(red: Red, account: str) -> AsyncIterator[Transcript]:
    """A gateway's stream to the control plane."""
    svid = red.svid(account)
    credentials = grpc.ssl_channel_credentials(red.authority.root_cert_pem, svid.key_pem, svid.chain_pem)
    options = [("grpc.ssl_target_name_override", settings().service_names[0])]
    async with grpc.aio.secure_channel(f"{POD_IP}:{XDS_PORT}", credentials, options=options) as channel:
        call = channel.stream_stream(
            AGGREGATED,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )(timeout=15)
        yield Transcript(call)
        call.cancel()


async def first_listeners(red: Red, account: str) -> list[str]:
    """What the first answer of the control plane holds for a gateway that has been there before."""
    while True:
        async with gateway(red, account) as stream:
            try:
                versions = {"discovery": "old", "services": "old"}
                await stream.request(LISTENER, versions=versions, metadata={"POD_IP": "127.79.0.20"})
                response = await stream._read()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
                continue  # it is not there yet
            return sorted(each.name for each in response.resources)


GREEN = FORWARDED["x-forwarded-client-cert"]


def discovery(red: Red, account: str = INGRESS, *, client: str = GREEN) -> httpx2.AsyncClient:
    """A client of the control plane's discovery, as a gateway is one that has let ``client`` in."""
    return httpx2.AsyncClient(
        base_url=f"https://{POD_IP}:{DISCOVERY_PORT}",
        verify=red.calls(account),
        headers={"x-forwarded-client-cert": client},
        timeout=10,
        trust_env=False,
    )


async def test_a_gateway_that_is_there_first_keeps_what_it_has(tmp_path: Path) -> None:
    """Envoys that reach a control plane the moment it starts are served the whole plan, never an empty one."""
    async with red_cluster(tmp_path) as red:
        await red.apply(red.green_root, peer())
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(first_listeners(red, INGRESS))
            async with red.control_plane():
                assert await first == ["discovery", "services"]


async def test_a_gateway_is_served_what_its_peer_calls_for(tmp_path: Path) -> None:
    """Exports and imports reach the gateways as they come and go; without a peer there is nothing."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        wanted = "export|outbound_.9080_._.reviews.bookinfo.svc.green-mesh-exports.local"
        async with gateway(red, INGRESS) as ingress, gateway(red, EGRESS) as egress:
            for stream in (ingress, egress):
                await stream.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
                assert not (await stream._read()).resources
            await red.apply(REVIEWS, red.green_root, peer(), EXPORT_ALL, IMPORT_ALL)
            assert sorted(each.name for each in (await ingress._read()).resources) == ["discovery", "services"]
            assert [each.name for each in (await egress._read()).resources] == ["discovery"]
            assert [each.name for each in (await egress._read()).resources] == ["imports|16000-16015"]
            await ingress.request(CLUSTER, subscribe=[wanted])
            assert [each.name for each in (await ingress._read()).resources] == [wanted]
            await red.kubectl("delete", "exportedserviceset", "green-mesh")
            assert list((await ingress._read()).removed_resources) == [wanted]
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            assert sorted((await ingress._read()).removed_resources) == ["discovery", "services"]
            assert sorted((await egress._read()).removed_resources) == ["discovery", "imports|16000-16015"]


async def test_a_workload_is_no_gateway(tmp_path: Path) -> None:
    """Another identity of the mesh is told that it has nothing to ask for."""
    async with red_cluster(tmp_path) as red, red.control_plane(), gateway(red, "default") as stream:
        await stream.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
        assert (await stream.expect_end())[0] == grpc.StatusCode.PERMISSION_DENIED


async def test_a_peer_is_told_what_is_exported(tmp_path: Path) -> None:
    """The list and the watch of green's control plane, as red's ingress gateway passes them on, follow the cluster."""
    async with red_cluster(tmp_path) as red, red.control_plane(), discovery(red) as client:
        assert (await client.get("/v1/services/green-mesh")).status_code == 400
        await red.apply(REVIEWS, red.green_root, peer(), EXPORT_ALL)

        async def is_served() -> bool:
            return (await client.get("/v1/services/green-mesh")).status_code == 200

        await until(is_served)
        async with client.stream("GET", "/v1/watch/green-mesh", timeout=15) as watch:
            listed = parse_service_list((await client.get("/v1/services/green-mesh")).content)
            (reviews,) = listed.services
            assert reviews.hostname == "reviews.bookinfo.svc.green-mesh-exports.local"
            assert reviews.service_ports == (ServicePort("http", 9080, "HTTP"),)
            assert reviews.service_accounts == (str(red.account(INGRESS)),)
            await red.apply(REVIEWS.replace("reviews", "details"))
            lines = watch.aiter_lines()
            event = parse_watch_event((await anext(lines)).encode())
            assert (event.action, event.service.name) == ("add", "details")
            assert event.checksum == Catalogue([reviews, event.service]).checksum
            status = (await red.status("exportedserviceset"))["exportedServices"]
            assert {each["localService"]["name"] for each in status} <= {"reviews", "details"}
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            rest = [line async for line in lines]
            assert all(json.loads(line)["action"] == "delete" for line in rest if line)
        assert (await client.get("/v1/services/green-mesh")).status_code == 400


async def test_only_the_peers_own_gateway_speaks_for_it(tmp_path: Path) -> None:
    """Another gateway, and any workload of the mesh, may not ask in the peer's name."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(REVIEWS, red.green_root, peer(), EXPORT_ALL)
        async with discovery(red) as client:

            async def is_served() -> bool:
                return (await client.get("/v1/services/green-mesh")).status_code == 200

            await until(is_served)
        for account in (EGRESS, "default"):
            async with discovery(red, account) as client:
                answer = await client.get("/v1/services/green-mesh")
                assert (answer.status_code, "reviews" in answer.text) == (403, False)


OTHERS = {
    "the former clientID": GREEN.replace("egress-red", "another"),
    "nobody": "",
    "two": f"{GREEN},{GREEN}",
    "two identities": f"{GREEN};URI=spiffe://green-mesh.local/ns/a/sa/b",
    "no identity": "URI=green",
}


@pytest.mark.parametrize("client", OTHERS.values(), ids=OTHERS)
async def test_a_gateway_that_lets_in_somebody_else_is_not_believed(tmp_path: Path, client: str) -> None:
    """Until it has heard of another clientID a gateway lets in the former one: the control plane refuses it."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(REVIEWS, red.green_root, peer(), EXPORT_ALL)
        async with discovery(red) as right, discovery(red, client=client) as wrong:

            async def is_served() -> bool:
                return (await right.get("/v1/services/green-mesh")).status_code == 200

            await until(is_served)
            for what in ("services", "watch", "peer", "trustbundle"):
                answer = await wrong.get(f"/v1/{what}/green-mesh")
                assert (answer.status_code, "reviews" in answer.text) == (403, False)


async def test_the_status_of_a_peer(tmp_path: Path) -> None:
    """Both directions are told in the documented shape; when the peer goes, so it says, with the cause."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        async with red.green_reachable():
            await red.apply(red.green_root, peer(), IMPORT_ALL)

            async def is_synced() -> bool:
                active = (await red.status()).get("discoveryStatus", {}).get("active", [])
                return [bool(each["watch"].get("lastFullSync")) for each in active] == [True]

            await until(is_synced)
            source = {"x-forwarded-for": "192.0.2.9"}
            async with discovery(red) as client, client.stream("GET", "/v1/watch/green-mesh", headers=source):

                async def is_watched() -> bool:
                    (pod,) = (await red.status())["discoveryStatus"]["active"]
                    return bool(pod.get("remotes"))

                await until(is_watched)
                await _check_active(red)
            red.feed.put(service("details"))

        async def is_inactive() -> bool:
            return bool((await red.status())["discoveryStatus"]["inactive"])

        await until(is_inactive)
        status = (await red.status())["discoveryStatus"]
        assert status["active"] == []
        (pod,) = status["inactive"]
        assert pod["watch"]["connected"] is False
        assert pod["watch"]["lastDisconnect"] >= pod["watch"]["lastConnected"]
        assert pod["watch"]["lastDisconnectStatus"]
        assert [each["connected"] for each in pod["remotes"]] == [False]


async def _check_active(red: Red) -> None:
    status = (await red.status())["discoveryStatus"]
    assert status["inactive"] == []
    (pod,) = status["active"]
    assert pod["pod"] == "istiod-red-mesh-0"
    watch: dict[str, Any] = pod["watch"]
    assert watch["connected"] is True
    assert watch.keys() >= {"lastConnected", "lastFullSync"}
    (remote,) = pod["remotes"]
    assert (remote["source"], remote["connected"]) == ("192.0.2.9", True)
    assert remote["lastConnected"].endswith("Z")


async def test_two_replicas_tell_of_themselves_only(tmp_path: Path) -> None:
    """Each control-plane pod has an entry of its own, and leaves that of the other as it is."""
    async with (
        red_cluster(tmp_path) as red,
        red.green_reachable(),
        red.control_plane(),
        red.control_plane("istiod-red-mesh-1", "127.79.0.11"),
    ):
        await red.apply(red.green_root, peer(), IMPORT_ALL)

        async def are_both_active() -> bool:
            active = (await red.status()).get("discoveryStatus", {}).get("active", [])
            return [each["pod"] for each in active] == ["istiod-red-mesh-0", "istiod-red-mesh-1"]

        await until(are_both_active)
        await red.wait_services(1)
        code, _ = await red.lab.kubectl("-n", NAMESPACE, "get", "secret", "istio-ca-secret")
        assert code == 0
