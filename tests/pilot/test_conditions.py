"""Conditions on the resources of federation, written by the real control plane on a lab's API server."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pilot.red import EXPORT_ALL, GREEN_CLIENT, GREEN_INGRESS, IMPORT_ALL, NAMESPACE, Red, peer, red_cluster
from tests.pilot.test_control_plane import gateway
from tests.waiting import until

from isthmus.envoy.message import LISTENER

pytestmark = pytest.mark.slow
INGRESS_PODS = """
apiVersion: v1
kind: Service
metadata: {name: ingress-green-mesh, namespace: red-mesh-system}
spec: {ports: [{name: discovery, port: 8188}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ingress-green-mesh-1
  namespace: red-mesh-system
  labels: {kubernetes.io/service-name: ingress-green-mesh}
addressType: IPv4
endpoints: [{addresses: [127.79.0.30], conditions: {ready: true}}]
ports: [{name: discovery, port: 8188}]
"""


async def condition(red: Red, kind: str, type_: str = "Accepted") -> dict[str, Any]:
    """The condition of that type of green's resource; empty while there is none."""
    found: dict[str, Any] = {}
    for each in (await red.status(kind)).get("conditions", []):
        found = each if each["type"] == type_ else found
    return found


async def wait_reason(red: Red, kind: str, reason: str, type_: str = "Accepted") -> dict[str, Any]:
    """The condition of that type, as soon as it has this reason."""

    async def is_there() -> bool:
        return bool((await condition(red, kind, type_)).get("reason") == reason)

    await until(is_there)
    return await condition(red, kind, type_)


async def test_a_peer_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Without the peer's root there is no trust, and its sets have no effect; with it, all is well."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(peer(), IMPORT_ALL, EXPORT_ALL)
        refused = await wait_reason(red, "servicemeshpeer", "RootNotFound", "TrustResolved")
        assert refused["status"] == "False"
        assert "green-mesh-ca-root-cert does not exist: create it" in refused["message"]
        await wait_reason(red, "importedserviceset", "PeerNotAccepted")
        await red.apply(red.green_root)
        trusted = await wait_reason(red, "servicemeshpeer", "RootsKnown", "TrustResolved")
        assert (trusted["status"], trusted["observedGeneration"]) == ("True", 1)
        await wait_reason(red, "importedserviceset", "Accepted")
        await wait_reason(red, "exportedserviceset", "Accepted")


async def test_a_shadowed_rule_is_told_until_it_is_moved(tmp_path: Path) -> None:
    """A rule that never decides is named by its index, for the generation that has it; corrected, all is well."""
    everything = {"type": "NameSelector", "nameSelector": {}}
    one = {"type": "NameSelector", "nameSelector": {"name": "ratings", "alias": {"name": "stars"}}}

    def rules(*rules: object) -> str:
        metadata = {"name": "green-mesh", "namespace": NAMESPACE}
        kind = {"apiVersion": "federation.maistra.io/v1", "kind": "ImportedServiceSet"}
        return json.dumps({**kind, "metadata": metadata, "spec": {"importRules": rules}})

    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(red.green_root, peer(), rules(everything, one))
        told = await wait_reason(red, "importedserviceset", "ShadowedRule")
        assert "importRules[1] never decides: importRules[0]" in told["message"]
        await red.apply(rules(one, everything))
        healed = await wait_reason(red, "importedserviceset", "Accepted")
        assert healed["observedGeneration"] == told["observedGeneration"] + 1


async def test_an_import_that_nobody_may_answer_for_is_told(tmp_path: Path) -> None:
    """A peer whose trust domain here is not that of the identities it names: each import says so, until it is."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await red.apply(red.green_root, peer(), IMPORT_ALL)
        await red.wait_services(1)
        await wait_reason(red, "importedserviceset", "Accepted")
        client = GREEN_CLIENT.replace("green-mesh.local", "lime.local")
        await red.apply(peer(trustDomain="lime.local", clientID=client))
        told = await wait_reason(red, "importedserviceset", "NoTrustedServer")
        assert f"expected an identity of lime.local, and the peer names '{GREEN_INGRESS}'" in told["message"]
        await red.apply(peer())
        await wait_reason(red, "importedserviceset", "Accepted")


async def test_a_set_without_peer_has_no_effect_and_says_so(tmp_path: Path) -> None:
    """Rules for a peer that does not exist name the peer that is missing."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(EXPORT_ALL)
        told = await wait_reason(red, "exportedserviceset", "PeerNotFound")
        assert "there is no ServiceMeshPeer green-mesh" in told["message"]


def named(document: str, name: str, **security: str) -> str:
    """The ServiceMeshPeer under another name, whose root is green's, with other security."""
    made = json.loads(document)
    made["metadata"]["name"] = name
    chain = {"kind": "ConfigMap", "name": "green-mesh-ca-root-cert"}
    made["spec"]["security"] = {"certificateChain": chain, **made["spec"]["security"], **security}
    return json.dumps(made)


async def test_a_peer_that_cannot_be_told_from_an_older_one_waits(tmp_path: Path) -> None:
    """The later of two peers with one clientID is not served until the older one is gone or corrected."""

    async def reason(red: Red, name: str) -> str:
        found = json.loads(await red.kubectl("get", "servicemeshpeer", name, "-o", "json"))
        conditions = found.get("status", {}).get("conditions", [])
        return "".join(each["reason"] for each in conditions if each["type"] == "Accepted")

    async with red_cluster(tmp_path) as red:
        await red.apply(red.green_root, peer())
        await red.apply(named(peer(), "a-second-mesh"))  # an earlier name, at best the same second
        async with red.control_plane():
            made = json.loads(await red.kubectl("get", "servicemeshpeer", "-o", "json"))["items"]
            by_age = sorted((each["metadata"]["creationTimestamp"], each["metadata"]["name"]) for each in made)
            older, later = (name for _, name in by_age)

            async def is_refused() -> bool:
                return (await reason(red, older), await reason(red, later)) == ("Accepted", "ClientIDTaken")

            await until(is_refused)
            await red.kubectl("delete", "servicemeshpeer", older)

            async def is_served() -> bool:
                return await reason(red, later) == "Accepted"

            await until(is_served)


async def test_a_gateway_that_takes_no_configuration_is_missed(tmp_path: Path) -> None:
    """Its pods are ready, and none of them has asked this control plane for anything: that is told after a while."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(INGRESS_PODS, red.green_root, peer())
        await wait_reason(red, "servicemeshpeer", "GatewayNotConnected", "GatewaysReady")

        async def is_missed() -> bool:
            told = await condition(red, "servicemeshpeer", "GatewaysReady")
            return "No pod of gateway ingress-green-mesh takes its configuration" in told["message"]

        await until(is_missed)


async def test_a_gateway_that_rejects_its_configuration_says_why(tmp_path: Path) -> None:
    """The words of the NACK are in the condition until the gateway takes what it is sent; then it is another reason:
    nobody answers behind the gateways here."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(INGRESS_PODS, red.green_root, peer())
        async with gateway(red, "egress-green-mesh-service-account") as egress:
            await egress.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
            await egress.nack(await egress._read(), "no such field")
            told = await wait_reason(red, "servicemeshpeer", "ConfigurationRejected", "GatewaysReady")
            assert "Gateway egress-green-mesh has rejected: no such field" in told["message"]
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            await egress.ack(await egress._read())
            await red.apply(peer())
            await egress.ack(await egress._read())
            await wait_reason(red, "servicemeshpeer", "GatewayNotConnected", "GatewaysReady")
