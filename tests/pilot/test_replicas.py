"""Two replicas of the control plane on a lab's API server: one writes, both serve."""

import json
from pathlib import Path
from typing import Any

import pytest
from lightkube.resources.coordination_v1 import Lease
from tests.pilot.red import IMPORT_ALL, NAMESPACE, Red, peer, red_cluster, service
from tests.waiting import until

pytestmark = pytest.mark.slow
FIRST, SECOND = "istiod-red-mesh-0", "istiod-red-mesh-1"
SECOND_IP = "127.79.0.11"


def pod(name: str) -> str:
    """A pod of the control plane, as YAML; nothing runs in it here."""
    spec = {"containers": [{"name": "discovery", "image": "isthmus"}]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    return json.dumps(document)


async def wait_leader(red: Red, name: str) -> None:
    """Wait until this replica holds the one lease of the namespace."""

    async def is_leader() -> bool:
        holders = [
            each.spec.holderIdentity async for each in red.client.api.list(Lease, namespace=NAMESPACE) if each.spec
        ]
        return holders == [name]

    await until(is_leader)


async def wait_pods(red: Red, *names: str) -> None:
    """Wait until the peer's status has an active entry of each of these pods, and of no other."""

    async def are_there() -> bool:
        status: dict[str, Any] = (await red.status()).get("discoveryStatus", {})
        entries = [each["pod"] for each in (*status.get("active", []), *status.get("inactive", []))]
        return entries == sorted(names)

    await until(are_there)


async def test_whoever_follows_goes_on_where_the_leader_ended(tmp_path: Path) -> None:
    """When the leader ends under churn the other writes on: no import is lost or doubled, and none changes its port."""
    async with red_cluster(tmp_path) as red, red.green_reachable():
        async with red.control_plane(SECOND, SECOND_IP):
            await red.apply(red.green_root, peer(), IMPORT_ALL)
            async with red.control_plane(FIRST):
                await wait_leader(red, SECOND)
                for number in range(20):
                    red.feed.put(service(f"early-{number}"))
                before = {each.metadata.name: each.spec for each in await red.wait_services(21) if each.metadata}
        async with red.control_plane(FIRST):
            red.feed.remove(service("early-0").hostname)
            for number in range(20):
                red.feed.put(service(f"late-{number}"))
            after = await red.wait_services(40)
    ports = [port.targetPort for each in after for port in (each.spec.ports if each.spec else None) or ()]
    assert len(set(ports)) == len(ports) == 40
    kept = {each.metadata.name: each.spec for each in after if each.metadata}
    assert len(before.keys() & kept.keys()) == 20
    assert all(before[name] == kept[name] for name in before.keys() & kept.keys())


async def test_the_leader_forgets_pods_that_are_gone(tmp_path: Path) -> None:
    """The status has both pods while they live; when one is deleted its entry goes, whoever led."""
    async with red_cluster(tmp_path) as red, red.green_reachable():
        await red.apply(red.green_root, peer(), IMPORT_ALL, pod(FIRST), pod(SECOND))
        async with red.control_plane(FIRST):
            await wait_leader(red, FIRST)
            async with red.control_plane(SECOND, SECOND_IP):
                await wait_pods(red, FIRST, SECOND)
            await red.kubectl("delete", "pod", SECOND, "--force", "--grace-period=0")
            await wait_pods(red, FIRST)
