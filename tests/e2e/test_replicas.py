"""Two control planes in each mesh: who writes, what a killed leader costs, and what the status says of them."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Federation, Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
EVERYTHING = [{"type": "NameSelector", "nameSelector": {"namespace": "bookinfo"}}]
LEASE = "servicemesh-federation"


def scale(site: Site, replicas: int) -> None:
    """Ask the operator for so many control planes."""
    runtime = {"components": {"pilot": {"deployment": {"replicas": replicas}}}}
    site.kubectl("patch", "smcp", site.mesh, "--type=merge", "-p", json.dumps({"spec": {"runtime": runtime}}))


def pilots(site: Site) -> list[str]:
    """The pods of the control plane that are ready."""
    pods = site.get("pods", "-l", "app=istiod")["items"]
    return sorted(
        pod["metadata"]["name"]
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    )


def told_pods(site: Site) -> list[str]:
    """The pods whose watch of the peer stands, as the status tells."""
    status = site.discovery_status()
    return [entry["pod"] for entry in status["active"]] if not status["inactive"] else []


def leader(site: Site) -> str:
    """The pod that holds the lease."""
    return str(site.get("lease", LEASE)["spec"].get("holderIdentity", ""))


def imports(site: Site) -> list[str]:
    """The exported names of all Services that stand for imports, one for each Service."""
    services = site.get("services", "-l", f"isthmus.io/peer={site.peer}")["items"]
    return sorted(each["metadata"]["annotations"]["isthmus.io/exported-name"] for each in services)


def services(names: list[str]) -> str:
    """Services, as documents for kubectl."""
    spec = {"selector": {"app": "ratings"}, "ports": [{"name": "http", "port": 9080}]}
    items = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": each, "namespace": "bookinfo"}, "spec": spec}
        for each in names
    ]
    return "\n---\n".join(json.dumps(each) for each in items)


def change(site: Site, verb: str, names: list[str]) -> None:
    """Apply or delete Services in bookinfo."""
    done = site.kubectl("-n", "bookinfo", verb, "-f", "-", stdin=services(names), check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def replicated(federation: Federation) -> Iterator[Federation]:
    """Both meshes with two control planes each, and everything in bookinfo shared; as before after the test."""
    red, green = federation.red, federation.green
    for site in federation.sites:
        scale(site, 2)
    rules = {"spec": {"exportRules": EVERYTHING}}, {"spec": {"importRules": EVERYTHING}}
    for site, kind, spec in ((green, "exportedserviceset", rules[0]), (red, "importedserviceset", rules[1])):
        site.kubectl("patch", kind, site.peer, "--type=merge", "-p", json.dumps(spec))
    eventually(lambda: all(len(told_pods(site)) == 2 for site in federation.sites), what="two pods tell of the link")
    yield federation
    for site, file in ((green, "exportedserviceset.yaml"), (red, "importedserviceset.yaml")):
        site.kubectl("apply", "-f", str(site.files / file))
    for site in federation.sites:
        scale(site, 1)
    eventually(lambda: all(len(told_pods(site)) == 1 for site in federation.sites), what="one pod tells of the link")


def test_a_killed_leader_loses_and_doubles_nothing(replicated: Federation) -> None:
    """Kill -9 of both leaders while services come and go: each import once, no request fails, the pods come back."""
    red, green = replicated.sites
    change(green, "apply", [f"early-{number}" for number in range(20)])
    for site in replicated.sites:
        os.kill(site.process("pilot", leader(site)), signal.SIGKILL)
    change(green, "apply", [f"late-{number}" for number in range(20)])
    change(green, "delete", [f"early-{number}" for number in range(10)])
    assert replicated.last_answer()["status"] == 200
    names = ["ratings", *(f"early-{number}" for number in range(10, 20)), *(f"late-{number}" for number in range(20))]
    expected = sorted(f"{name}.bookinfo.svc.red-mesh-exports.local" for name in names)
    eventually(lambda: imports(red) == expected, what="each import once", within_s=40)
    eventually(lambda: all(told_pods(site) == pilots(site) for site in replicated.sites), what="both pods are back")
    assert replicated.last_answer()["status"] == 200
    change(green, "delete", [name for name in names if name != "ratings"])
    eventually(lambda: len(imports(red)) == 1, what="what is gone is gone")


def test_a_deleted_pod_leaves_the_status(replicated: Federation) -> None:
    """When the leader's pod is deleted another leads, and the status names the living pods only."""
    red = replicated.red
    gone = leader(red)
    red.kubectl("delete", "pod", gone, "--wait=false")
    eventually(lambda: leader(red) not in {gone, ""}, what="another leads")
    eventually(lambda: len(pilots(red)) == 2 and told_pods(red) == pilots(red), what="only the living are told of")
    assert gone not in told_pods(red)
    assert replicated.last_answer()["status"] == 200
