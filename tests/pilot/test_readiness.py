"""Who answers for an import: its peer's pods, the pods here, or nobody; a real control plane on a lab's API server."""

import json
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from lightkube.resources.core_v1 import Service
from tests.pilot.red import (
    EXPORT_ALL,
    FORWARDED,
    IMPORT_ALL,
    IMPORT_AS_LOCAL,
    NAMESPACE,
    POD_IP,
    RATINGS,
    Red,
    peer,
    red_cluster,
)
from tests.waiting import until

from isthmus.api.exports import ExportRule
from isthmus.federation.exports import ExportRules
from isthmus.federation.messages import Health, Locality, ServiceMessage, parse_service_list
from isthmus.federation.selection import QualifiedName
from isthmus.identity import SpiffeId
from isthmus.kube import Change, ObjectKey
from isthmus.pilot.exporting import Exporting
from isthmus.pilot.settings import DISCOVERY_PORT

INGRESS = SpiffeId.parse("spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account")
LOCAL_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: bookinfo}
spec: {ports: [{name: http, port: 9080}]}
"""


def local_pods(*, are_ready: bool) -> str:
    """The slice of the local Service with one pod, as YAML."""
    metadata = {
        "name": "ratings-1",
        "namespace": "bookinfo",
        "labels": {"kubernetes.io/service-name": "ratings"},
    }
    endpoint = {"addresses": ["127.79.0.30"], "conditions": {"ready": are_ready}}
    document = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    ports = [{"name": "http", "port": 9080}]
    return json.dumps({**document, "addressType": "IPv4", "endpoints": [endpoint], "ports": ports})


def with_health(ready: int) -> ServiceMessage:
    """Ratings with so many of three pods ready."""
    return msgspec.structs.replace(RATINGS, health=Health(ready, 3))


async def wait_readiness(red: Red, expected: list[bool], namespace: str = NAMESPACE) -> None:
    """Wait until the endpoints of the import are as expected."""

    async def is_so() -> bool:
        endpoints = [each for made in await red.slices(namespace) for each in made.endpoints or ()]
        return [each.conditions is not None and each.conditions.ready for each in endpoints] == expected

    await until(is_so)


async def wait_age(red: Red, reason: str) -> dict[str, Any]:
    """The condition UpToDate, as soon as it has this reason."""
    found: dict[str, Any] = {}

    async def is_so() -> bool:
        for each in (await red.status("importedserviceset")).get("conditions", []):
            if (each["type"], each["reason"]) == ("UpToDate", reason):
                found.update(each)
        return bool(found)

    await until(is_so)
    return found


def annotated(imports: str, annotation: str, value: str) -> str:
    """The import set with this annotation."""
    return imports.replace(
        f"namespace: {NAMESPACE}}}", f'namespace: {NAMESPACE}, annotations: {{{annotation}: "{value}"}}}}'
    )


@pytest.mark.slow
async def test_an_import_is_ready_as_its_pods_are(tmp_path: Path) -> None:
    """Without a ready pod at the peer's an import is not ready, with one it is; a peer that is silent is believed."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await red.apply(red.green_root, peer(), IMPORT_ALL)
        await wait_readiness(red, [True])
        red.feed.put(with_health(0))
        await wait_readiness(red, [False])
        red.feed.put(with_health(1))
        await wait_readiness(red, [True])


@pytest.mark.slow
async def test_imports_of_a_peer_that_is_away_are_stale_and_kept(tmp_path: Path) -> None:
    """By default they stay ready for ever, over a restart too; the set tells since when they are old."""
    async with red_cluster(tmp_path) as red:
        async with red.control_plane():
            async with red.green_reachable():
                await red.apply(red.green_root, peer(), IMPORT_ALL)
                await wait_age(red, "PeerConnected")
                await wait_readiness(red, [True])
            away = await wait_age(red, "PeerAway")
            assert away["lastTransitionTime"] in away["message"]
            await wait_readiness(red, [True])
        async with red.control_plane():
            await until(lambda: _tells_of_a_failed_watch(red))
            again = await wait_age(red, "PeerAway")
            assert again["lastTransitionTime"] == away["lastTransitionTime"]
            await wait_readiness(red, [True])
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            await until(lambda: _tells_only(red, "Accepted"))


async def _tells_only(red: Red, type_: str) -> bool:
    return [each["type"] for each in (await red.status("importedserviceset")).get("conditions", [])] == [type_]


async def _tells_of_a_failed_watch(red: Red) -> bool:
    status = (await red.status()).get("discoveryStatus", {})
    return any("refused" in each["watch"].get("lastDisconnectStatus", "") for each in status.get("inactive", []))


@pytest.mark.slow
async def test_the_importer_chooses_how_long_imports_are_kept(tmp_path: Path) -> None:
    """After the time in the annotation imports turn unready, and they are ready again once the peer is back."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        async with red.green_reachable():
            await red.apply(red.green_root, peer(), annotated(IMPORT_ALL, "isthmus.io/keep-stale", "200ms"))
            await wait_readiness(red, [True])
        await wait_readiness(red, [False])
        assert "isthmus.io/keep-stale" in (await wait_age(red, "Expired"))["message"]
        async with red.green_reachable():
            await wait_readiness(red, [True])


@pytest.mark.slow
async def test_failover_goes_to_the_peer_while_no_local_pod_is_ready(tmp_path: Path) -> None:
    """With the annotation an import that joins a local Service is ready only while that has no ready pod."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        imports = annotated(IMPORT_AS_LOCAL, "isthmus.io/failover", "true")
        await red.apply(LOCAL_SERVICE, local_pods(are_ready=True), red.green_root, peer(), imports)
        await wait_readiness(red, [False], "bookinfo")
        await red.apply(local_pods(are_ready=False))
        await wait_readiness(red, [True], "bookinfo")
        await red.apply(local_pods(are_ready=True))
        await wait_readiness(red, [False], "bookinfo")


@pytest.mark.slow
async def test_local_pods_take_over_from_a_peer_that_is_away(tmp_path: Path) -> None:
    """Beside local pods an import is ready while the link stands, and not while it is down."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        async with red.green_reachable():
            await red.apply(LOCAL_SERVICE, local_pods(are_ready=True), red.green_root, peer(), IMPORT_AS_LOCAL)
            await wait_readiness(red, [True], "bookinfo")
        await wait_readiness(red, [False], "bookinfo")


class Pods:
    """An exporter whose one Service has as many ready pods as it is told."""

    def __init__(self) -> None:
        self.health: Health | None = None
        self.told: list[Health | None] = []
        self.exporting = Exporting(
            namespace="green-mesh-system",
            cluster_domain="cluster.local",
            changed=lambda _peer, changes: self.told.extend(each.after.health for each in changes if each.after),
            health=lambda _: self.health,
        )
        rules = msgspec.convert([{"type": "NameSelector", "nameSelector": {}}], tuple[ExportRule, ...])
        self.exporting.configure("red-mesh", ExportRules.of(rules), INGRESS)
        document = {"metadata": {"name": "ratings", "namespace": "bookinfo"}, "spec": {"ports": [{"port": 9080}]}}
        made = msgspec.convert(document, Service)
        self.exporting.service_changed(Change(ObjectKey("bookinfo", "ratings"), None, made))

    def become(self, ready: int) -> None:
        """So many of three pods are ready now."""
        self.health = Health(ready, 3)
        self.exporting.endpoints_changed(QualifiedName("bookinfo", "ratings"))


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        pytest.param([1, 2, 3], [None], id="ready from the start: nothing to add"),
        pytest.param([0], [None, 0], id="none is ready"),
        pytest.param([0, 0, 2, 3, 1, 0], [None, 0, 2, 0], id="only the first and the last are told"),
    ],
)
def test_peers_hear_of_the_first_and_the_last_ready_pod(counts: list[int], told: list[int | None]) -> None:
    """Pods that come and go beside others cost the peers nothing."""
    pods = Pods()
    for count in counts:
        pods.become(count)
    assert [None if each is None else each.ready for each in pods.told] == told
    assert pods.exporting.feeds["red-mesh"].checksum == Pods().exporting.feeds["red-mesh"].checksum


@pytest.mark.slow
async def test_an_import_is_where_its_importer_says(tmp_path: Path) -> None:
    """The zone of an import and the hint for it follow ``spec.locality`` at once; one with a gap is told of."""

    def located(**locality: str) -> str:
        return IMPORT_ALL.replace("spec: {", f"spec: {{locality: {json.dumps(locality)}, ")

    async def wait_place(red: Red, zone: str | None, hints: list[str]) -> None:
        async def is_so() -> bool:
            endpoint = ((await red.import_slice()).endpoints or [])[0]
            found = [each.name for each in (endpoint.hints.forZones if endpoint.hints else None) or ()]
            return (endpoint.zone, found) == (zone, hints)

        await until(is_so)

    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await red.apply(red.green_root, peer(), IMPORT_ALL)
        await wait_place(red, None, [])
        await red.apply(located(region="us-west", zone="us-west-1"))
        await wait_place(red, "us-west-1", ["us-west-1"])
        await red.apply(located(region="us-west"))
        await wait_place(red, None, ["us-west"])
        await red.apply(located(zone="us-west-1"))
        await wait_place(red, None, [])

        async def is_told() -> bool:
            conditions = (await red.status("importedserviceset")).get("conditions", [])
            return [each["reason"] for each in conditions if each["type"] == "Accepted"] == ["InvalidLocality"]

        await until(is_told)


@pytest.mark.slow
async def test_peers_are_told_where_a_service_is(tmp_path: Path) -> None:
    """The zone of the pods and the region of its nodes reach the peer, and follow what nodes say of themselves."""

    def node(region: str) -> str:
        labels = {"topology.kubernetes.io/zone": "a-1", "topology.kubernetes.io/region": region}
        return json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": labels}})

    async def is_told(red: Red, region: str) -> bool:
        context = red.calls("ingress-green-mesh-service-account")
        async with httpx2.AsyncClient(verify=context, timeout=10, trust_env=False) as client:
            answer = await client.get(f"https://{POD_IP}:{DISCOVERY_PORT}/v1/services/green-mesh", headers=FORWARDED)
        told = parse_service_list(answer.content).services if answer.status_code == 200 else ()
        return [each.locality for each in told] == [Locality(region, "a-1")]

    async with red_cluster(tmp_path) as red, red.control_plane():
        slice_ = json.loads(local_pods(are_ready=True))
        slice_["endpoints"][0]["zone"] = "a-1"
        await red.apply(red.green_root, peer(), EXPORT_ALL, LOCAL_SERVICE, json.dumps(slice_), node("a"))
        await until(lambda: is_told(red, "a"))
        await red.apply(node("b"))
        await until(lambda: is_told(red, "b"))
