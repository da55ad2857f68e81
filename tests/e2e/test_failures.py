"""What fails over when things break: local pods that go, and a peer that goes; with real Envoys and kubectl."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import Federation, Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
AS_LOCAL = {
    "importRules": [
        {
            "type": "NameSelector",
            "importAsLocal": True,
            "nameSelector": {"namespace": "bookinfo", "name": "ratings", "alias": {"namespace": "bookinfo"}},
        }
    ]
}


def choose(site: Site, spec: dict[str, Any], **annotations: str) -> None:
    """Import by these rules, with these annotations of ours."""
    named = {f"isthmus.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    patch = json.dumps({"metadata": {"annotations": named}, "spec": spec})
    site.kubectl("patch", "importedserviceset", site.peer, "--type=merge", "-p", patch)


def condition(site: Site, type_: str) -> dict[str, str]:
    """The condition of that type of the import set; empty while there is none."""
    status = site.get("importedserviceset", site.peer).get("status", {})
    return next((each for each in status.get("conditions", []) if each["type"] == type_), {})


def served_by(site: Site) -> str:
    """Which mesh answers for the Service ratings of this one; empty if none does."""
    found = site.kubectl("-n", "bookinfo", "get", "service", "ratings", "-o", "json", check=False)
    if found.returncode != 0:
        return ""
    address = json.loads(found.stdout)["spec"]["clusterIP"]
    try:
        with urllib.request.urlopen(f"http://{address}:9080/ratings/7", timeout=2) as answer:
            return str(json.load(answer)["servedBy"])
    except (OSError, urllib.error.URLError):
        return ""


@pytest.fixture
def red_ratings(federation: Federation) -> Iterator[Federation]:
    """Red has ratings of its own; it is gone after the test, and the import is as it was."""
    red = federation.red
    manifest = (federation.green.files / "ratings.yaml").read_text().replace("green-mesh", "red-mesh")
    created = red.kubectl("-n", "bookinfo", "apply", "-f", "-", stdin=manifest)
    assert created.returncode == 0
    eventually(lambda: served_by(red) == "red-mesh", what="red answers for itself")
    yield federation
    red.kubectl("-n", "bookinfo", "delete", "-f", "-", stdin=manifest)
    red.kubectl("delete", "importedserviceset", red.peer)
    red.kubectl("apply", "-f", str(red.files / "importedserviceset.yaml"))


def test_requests_go_to_the_peer_while_local_pods_are_gone(red_ratings: Federation) -> None:
    """With the annotation the peer answers once no local pod does, and local pods again when they return."""
    red = red_ratings.red
    choose(red, AS_LOCAL, failover="true")
    eventually(lambda: red.get("endpointslices", "-n", "bookinfo", "-l", "isthmus.io/peer=green-mesh")["items"])
    assert {served_by(red) for _ in range(10)} == {"red-mesh"}
    red.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=0")
    eventually(lambda: served_by(red) == "green-mesh", what="green answers")
    red.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=1")
    eventually(lambda: served_by(red) == "red-mesh", what="red answers again")
    assert {served_by(red) for _ in range(10)} == {"red-mesh"}


@pytest.fixture
def red_in_a_zone(red_ratings: Federation) -> Iterator[Site]:
    """Red's node is in zone east-1; its ratings prefer callers of their own zone."""
    red = red_ratings.red
    red.kubectl("label", "node", "--all", "topology.kubernetes.io/zone=east-1", "topology.kubernetes.io/region=east")
    prefer = json.dumps({"spec": {"trafficDistribution": "PreferClose"}})
    red.kubectl("-n", "bookinfo", "patch", "service", "ratings", "--type=merge", "-p", prefer)
    yield red
    red.kubectl("label", "node", "--all", "topology.kubernetes.io/zone-", "topology.kubernetes.io/region-")


def callees(site: Site) -> set[str]:
    """Which meshes answer twenty calls."""
    return {served_by(site) for _ in range(20)}


def test_an_import_of_another_zone_is_called_while_no_pod_of_the_zone_is_ready(red_in_a_zone: Site) -> None:
    """Local pods take all calls; without them the import does; without a locality of its own it takes its share."""
    red = red_in_a_zone
    choose(red, AS_LOCAL)
    eventually(lambda: callees(red) == {"red-mesh", "green-mesh"}, what="pods and import share the calls")
    choose(red, {**AS_LOCAL, "locality": {"region": "west", "zone": "west-1"}})
    eventually(lambda: callees(red) == {"red-mesh"}, what="the import takes no calls")
    red.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=0")
    eventually(lambda: callees(red) == {"green-mesh"}, what="the import takes all calls")
    red.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=1")
    eventually(lambda: callees(red) == {"red-mesh"}, what="the import gives them back")


def test_an_import_of_the_same_zone_shares_the_calls(red_in_a_zone: Site) -> None:
    """An import that is as near as the local pods takes its share; one of which only the region is known takes none."""
    red = red_in_a_zone
    choose(red, {**AS_LOCAL, "locality": {"region": "east"}})
    eventually(lambda: red.get("endpointslices", "-n", "bookinfo", "-l", "isthmus.io/peer=green-mesh")["items"])
    eventually(lambda: callees(red) == {"red-mesh"}, what="a region is no zone: the import takes no calls")
    choose(red, {**AS_LOCAL, "locality": {"region": "east", "zone": "east-1"}})
    eventually(lambda: callees(red) == {"red-mesh", "green-mesh"}, what="pods and import share the calls")


def test_an_import_as_local_makes_its_service_in_another_namespace(federation: Federation) -> None:
    """Where no Service of that name exists the import makes it, and takes it away again."""
    red = federation.red
    choose(red, AS_LOCAL)
    eventually(lambda: served_by(red) == "green-mesh", what="the Service in bookinfo leads to green")
    red.kubectl("apply", "-f", str(red.files / "importedserviceset.yaml"))
    eventually(lambda: red.kubectl("-n", "bookinfo", "get", "svc", "ratings", check=False).returncode != 0)


def test_a_service_without_ready_pods_is_not_ready_at_the_importers(federation: Federation) -> None:
    """Scaled to nothing in green, the import in red has no ready endpoint; scaled up again, it has."""
    red, green = federation.red, federation.green

    def is_ready() -> bool:
        slices = red.get("endpointslices", "-l", "isthmus.io/peer=green-mesh")["items"]
        return any(each["conditions"]["ready"] for piece in slices for each in piece["endpoints"])

    eventually(is_ready)
    green.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=0")
    eventually(lambda: not is_ready(), what="the import is not ready")
    green.kubectl("-n", "bookinfo", "scale", "deploy/ratings-v1", "--replicas=1")
    eventually(is_ready, what="the import is ready again")


def test_imports_of_a_peer_that_is_away_are_kept_and_marked(federation: Federation) -> None:
    """While green's gateway is gone red keeps the import and tells since when it is old; then it is current again."""
    red, green = federation.red, federation.green
    seen: list[dict[str, str]] = []

    def is_old() -> bool:
        # The operator makes it one again, and red goes on to the new pod before anyone can look.
        green.kubectl("scale", "deploy/ingress-red-mesh", "--replicas=0")
        seen.append(condition(red, "UpToDate"))
        return seen[-1].get("status") == "False"

    eventually(is_old, what="red says that it is old")
    assert (seen[-1]["reason"], seen[-1]["lastTransitionTime"] in seen[-1]["message"]) == ("PeerAway", True)
    assert len(red.get("services", "-l", "isthmus.io/peer=green-mesh")["items"]) == 1
    eventually(lambda: condition(red, "UpToDate").get("status") == "True", what="it is current again")
