"""Two meshes with different roots, federated by two ServiceMeshPeers: what an administrator sees and does."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import BIN, EXAMPLES, Federation, Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_status_shows_both_directions(federation: Federation) -> None:
    """Each side's status names its pod under ``active``, with the watch and the remote connected, and their times."""

    def connections(site: Site) -> list[dict[str, Any]]:
        (entry,) = site.discovery_status()["active"]
        return [entry["watch"], *(remote for remote in entry["remotes"] if remote["connected"])]

    for site in federation.sites:
        eventually(lambda site=site: all("lastFullSync" in each for each in connections(site)))  # type: ignore[misc]
        status = site.discovery_status()
        assert status["inactive"] == []
        assert status["active"][0]["pod"].startswith(f"istiod-{site.mesh}-")
        watch, remote = connections(site)
        assert watch["connected"] is True
        assert remote["source"]
        for connection in (watch, remote):
            assert TIME.fullmatch(connection["lastConnected"])
            assert TIME.fullmatch(connection["lastFullSync"])


def test_sets_show_what_is_shared(federation: Federation) -> None:
    """The export set and the import set list the service with its name on either side."""
    exported = federation.green.get("exportedserviceset", "red-mesh")["status"]["exportedServices"]
    imported = federation.red.get("importedserviceset", "green-mesh")["status"]["importedServices"]
    name = "ratings.bookinfo.svc.red-mesh-exports.local"
    assert exported == [
        {
            "exportedName": name,
            "localService": {
                "name": "ratings",
                "namespace": "bookinfo",
                "hostname": "ratings.bookinfo.svc.cluster.local",
            },
        }
    ]
    assert imported[0]["exportedName"] == name
    assert imported[0]["localService"]["hostname"] == "ratings.bookinfo.svc.green-mesh-imports.local"


def test_preview_tells_what_rules_would_do(federation: Federation, tmp_path: Path) -> None:
    """Before they are applied, rules say what they would share and withdraw; nothing is changed."""
    proposed = (EXAMPLES / "green" / "exportedserviceset.yaml").read_text().replace("name: ratings", "name: nothing")
    (tmp_path / "rules.yaml").write_text(proposed)
    kubeconfig = federation.green.data_dir / "green" / "kubeconfig"
    command = [str(BIN / "isthmus"), "preview", "--kubeconfig", str(kubeconfig), "-f", str(tmp_path / "rules.yaml")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "- ratings.bookinfo.svc.red-mesh-exports.local <- ratings.bookinfo.svc.cluster.local" in shown
    assert "0 more, 1 less" in shown
    assert federation.last_answer()["status"] == 200


def test_access_logs_show_the_request(federation: Federation) -> None:
    """The egress gateway's log has the request with the server's identity, the ingress gateway's with the client's."""

    def lines(site: Site, deployment: str) -> list[dict[str, str]]:
        entries = [json.loads(line) for line in site.logs(deployment).splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry.get("kind") == "connection"]

    def tells(site: Site, deployment: str, **expected: str) -> bool:
        """Whether a line ends so; others may be of connections that were refused."""
        found = lines(site, deployment)
        return any(all(line.get(key, "").endswith(end) for key, end in expected.items()) for line in found)

    server, client = "/sa/ingress-red-mesh-service-account", "/sa/egress-green-mesh-service-account"
    eventually(lambda: tells(federation.red, "egress-green-mesh", server=server), what="the server's identity")
    eventually(lambda: tells(federation.green, "ingress-red-mesh", client=client), what="the client's identity")


def test_peers_can_be_deleted_and_created_again(federation: Federation) -> None:
    """Deleting both peers and creating them again connects again, any number of times."""
    for _ in range(3):
        for site in federation.sites:
            site.kubectl("delete", "servicemeshpeer", site.peer)
        for site in federation.sites:
            site.kubectl("create", "-f", str(site.files / "servicemeshpeer.yaml"))
        eventually(lambda: all(site.is_active() for site in federation.sites), what="active again")


def test_deleting_a_peer_withdraws_everything(federation: Federation) -> None:
    """When red deletes its peer the import is gone with its Service and its name; nothing answers any more."""
    red = federation.red
    red.kubectl("delete", "servicemeshpeer", red.peer)
    eventually(lambda: red.get("services", "-l", "isthmus.io/peer=green-mesh")["items"] == [], within_s=10)
    assert red.get("endpointslices", "-l", "isthmus.io/peer=green-mesh")["items"] == []
    eventually(lambda: federation.last_answer()["status"] == 0, within_s=10)
    eventually(lambda: red.get("importedserviceset", red.peer)["status"]["importedServices"] == [], within_s=10)


def test_exporter_that_deletes_its_peer_withdraws_its_exports(federation: Federation) -> None:
    """When green deletes its peer red loses the import, and nothing of green can be reached."""
    federation.green.kubectl("delete", "servicemeshpeer", federation.green.peer)
    eventually(lambda: federation.last_answer()["status"] == 0, within_s=10)
    eventually(lambda: federation.red.discovery_status()["inactive"], within_s=10)


def test_killed_ingress_gateway_comes_back(federation: Federation) -> None:
    """Kill -9 of green's ingress gateway: red's status says why, the gateway restarts, the peer is active again."""
    os.kill(federation.green.process("gateway", "ingress-red-mesh"), signal.SIGKILL)
    eventually(federation.red.inactive_cause, what="red notices, and says why")
    eventually(federation.red.is_active, what="active again")


def test_killed_control_plane_comes_back(federation: Federation) -> None:
    """Kill -9 of red's istiod costs no request: its gateways keep what they have, and it takes up where it was."""
    services = federation.red.get("services", "-l", "isthmus.io/peer=green-mesh")["items"]
    os.kill(federation.red.process("pilot", "red-mesh"), signal.SIGKILL)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert federation.last_answer()["status"] == 200
    eventually(federation.red.is_active)
    after = federation.red.get("services", "-l", "isthmus.io/peer=green-mesh")["items"]
    assert [each["spec"] for each in after] == [each["spec"] for each in services]
    assert [each["metadata"]["uid"] for each in after] == [each["metadata"]["uid"] for each in services]


def _wrong_client_id(site: Site) -> None:
    site.patch_peer(security={"clientID": f"{site.peer}.local/ns/{site.peer}-system/sa/someone-else"})


def _wrong_trust_domain(site: Site) -> None:
    client_id = f"blue-mesh.local/ns/{site.peer}-system/sa/egress-{site.mesh}-service-account"
    site.patch_peer(security={"trustDomain": "blue-mesh.local", "clientID": client_id})


def _contradicting_trust_domain(site: Site) -> None:
    site.patch_peer(security={"trustDomain": "blue-mesh.local"})


def _wrong_root(site: Site) -> None:
    own = site.get("configmap", "istio-ca-root-cert")["data"]["root-cert.pem"]
    site.kubectl("create", "configmap", "other-root", f"--from-literal=root-cert.pem={own}", check=False)
    site.patch_peer(security={"certificateChain": {"name": "other-root"}})


def _missing_config_map(site: Site) -> None:
    site.patch_peer(security={"certificateChain": {"name": "not-there"}})


def _missing_key(site: Site) -> None:
    site.kubectl("create", "configmap", "no-key", "--from-literal=ca.crt=x", check=False)
    site.patch_peer(security={"certificateChain": {"name": "no-key"}})


def _unresolvable_address(site: Site) -> None:
    site.patch_peer(remote={"addresses": ["nowhere.invalid"]})


@pytest.mark.parametrize(
    ("spoil", "who_notices", "log_of", "says"),
    [
        pytest.param(_wrong_client_id, "other", "ingress-{peer}", "rbac_access_denied", id="clientID"),
        pytest.param(_wrong_trust_domain, "self", "egress-{peer}", "CERTIFICATE_VERIFY_FAILED", id="trustDomain"),
        pytest.param(_contradicting_trust_domain, "self", "istiod-{mesh}", "clientID", id="trustDomain of another"),
        pytest.param(_wrong_root, "self", "egress-{peer}", "CERTIFICATE_VERIFY_FAILED", id="root certificate"),
        pytest.param(_missing_config_map, "self", "istiod-{mesh}", "not-there does not exist", id="no ConfigMap"),
        pytest.param(_missing_key, "self", "istiod-{mesh}", "no key root-cert.pem", id="no key"),
        pytest.param(_unresolvable_address, "self", "egress-{peer}", "no_healthy_upstream", id="address"),
    ],
)
def test_a_wrong_peer_is_inactive_and_heals_when_corrected(
    federation: Federation, spoil: Callable[[Site], None], who_notices: str, log_of: str, says: str
) -> None:
    """A mistake in the resource makes the link inactive, one log line says why; correcting it is all that it takes."""
    site, other = federation.red, federation.green
    spoil(site)
    noticing = site if who_notices == "self" else other
    eventually(noticing.inactive_cause, what="the status turns inactive with a cause")
    deployment = log_of.format(mesh=site.mesh, peer=site.peer)
    eventually(lambda: says in site.logs(deployment), what=f"{says} in the log of {deployment}")
    restarts = [
        each["restartCount"] for pod in site.get("pods")["items"] for each in pod["status"]["containerStatuses"]
    ]
    site.kubectl("apply", "-f", str(site.files / "servicemeshpeer.yaml"))
    eventually(federation.is_whole, what="whole again")
    assert restarts == [
        each["restartCount"] for pod in site.get("pods")["items"] for each in pod["status"]["containerStatuses"]
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.remote.addresses", {"remote": {"addresses": []}}),
        ("spec.security.clientID", {"security": {"clientID": "spiffe://x"}}),
        ("spec.remote.servicePort", {"remote": {"servicePort": 70000}}),
        ("spec.security.certificateChain.kind", {"security": {"certificateChain": {"kind": "Secret"}}}),
    ],
)
def test_a_malformed_peer_is_refused(federation: Federation, path: str, value: dict[str, object]) -> None:
    """The schema refuses it at once, with the path of the field."""
    refused = federation.red.kubectl(
        "patch", "servicemeshpeer", "green-mesh", "--type=merge", "-p", json.dumps({"spec": value}), check=False
    )
    assert refused.returncode == 1
    assert path in refused.stderr
