"""``isthmus check`` and ``isthmus status`` against two real meshes, whole and broken."""

import json
import os
import signal
import subprocess
import time
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.e2e.conftest import BIN, Federation, Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def isthmus(site: Site, *arguments: str, kubeconfig: str = "") -> subprocess.CompletedProcess[str]:
    """The command, with the administrator's kubeconfig of the site, or another."""
    path = kubeconfig or str(site.data_dir / site.name / "kubeconfig")
    command = [str(BIN / "isthmus"), *arguments, "--kubeconfig", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def check(site: Site, *arguments: str, kubeconfig: str = "") -> tuple[int, dict[str, Any], float]:
    """Exit code, the one link of the answer, and how long it took."""
    began = time.monotonic()
    ran = isthmus(site, "check", site.peer, "-o", "json", *arguments, kubeconfig=kubeconfig)
    assert ran.stdout, ran.stderr
    (link,) = json.loads(ran.stdout)
    return ran.returncode, link, time.monotonic() - began


def steps(link: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of a check by name."""
    return {step["name"]: step for step in link["steps"]}


def failures(link: dict[str, Any]) -> dict[str, str]:
    """The causes of the steps that failed."""
    return {name: step["cause"] for name, step in steps(link).items() if step["result"] == "failed"}


def test_a_link_that_holds(federation: Federation) -> None:
    """From red, which imports, every step passes within three seconds, a real request among them, and exits with 0."""
    code, link, took_s = check(federation.red)
    assert (code, link["result"], failures(link)) == (0, "passed", {})
    assert took_s < 3
    assert "200 OK" in steps(link)["data-path"]["figure"]
    assert "spiffe://green-mesh.local/" in steps(link)["identity"]["figure"]
    assert link["peerView"]["clientID"].startswith("spiffe://red-mesh.local/")
    assert (link["peerView"]["exports"], link["peerView"]["knows"]) == (1, 0)


def test_what_cannot_be_proved_is_not_green(federation: Federation) -> None:
    """Green imports nothing, so that no request could be tried: 3, and JUnit says so."""
    ran = isthmus(federation.green, "check", "-n", federation.green.namespace, "-o", "junit")
    assert ran.returncode == 3
    suite = ET.fromstring(ran.stdout).find("testsuite")  # noqa: S314  (our own text)
    assert suite is not None
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")


def test_a_way_that_ends(federation: Federation) -> None:
    """At a port where nobody listens step tcp fails, and the side to act is told; mended, it is waited for green."""
    red = federation.red
    red.patch_peer(remote={"discoveryPort": 9})
    eventually(lambda: not red.is_active(), what="the link is down")
    code, link, _ = check(red)
    assert code == 1
    found = failures(link)
    assert found["tcp"] == "ConnectionRefused"
    assert steps(link)["tcp"]["side"] == "at the peer"
    assert ":9" in steps(link)["tcp"]["message"]
    status = json.loads(isthmus(red, "status", "-o", "json").stdout)
    assert (status[0]["peer"], status[0]["ready"], status[0]["watching"]) == (red.peer, False, False)
    red.patch_peer(remote={"discoveryPort": None})
    code, link, _ = check(red, "--wait", "30")
    assert (code, failures(link)) == (0, {})


def test_a_link_that_stands_and_carries_nothing(federation: Federation) -> None:
    """Discovery is well, and the port for services is wrong: the request fails, and the port and the side are told."""
    federation.red.patch_peer(remote={"servicePort": 9})

    def fails() -> bool:
        code, link, _ = check(federation.red)
        step = steps(link)["data-path"]
        return code == 1 and failures(link) == {"data-path": "ConnectionRefused"} and ":9" in step["message"]

    eventually(fails, what="only the request fails")
    federation.red.patch_peer(remote={"servicePort": None})


def test_a_status_that_is_watched(federation: Federation) -> None:
    """What changes is shown, and nothing else."""
    red = federation.red
    kubeconfig = str(red.data_dir / red.name / "kubeconfig")
    command = [str(BIN / "isthmus"), "status", "--watch", "-o", "json", "--kubeconfig", kubeconfig]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["watching"] is True
        red.patch_peer(remote={"discoveryPort": 9})
        while (line := json.loads(watching.stdout.readline()))["watching"]:
            pass
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 0
    assert (line["peer"], line["ready"]) == (red.peer, False)
    red.patch_peer(remote={"discoveryPort": None})


def test_a_peer_who_expects_somebody_else(federation: Federation) -> None:
    """A wrong clientID there is seen from here: the way is open, and the peer refuses us."""
    federation.green.patch_peer(security={"clientID": "red-mesh.local/ns/red-mesh-system/sa/somebody"})
    eventually(lambda: not federation.red.is_active(), what="the link is down")

    def refused() -> bool:
        code, link, _ = check(federation.red)
        return code == 1 and failures(link).get("discovery") == "ClientRefused"

    eventually(refused, what="the refusal is found")


def test_a_control_plane_that_stands_still(federation: Federation) -> None:
    """It is told what the Lease shows, within seconds, and nothing hangs."""
    pilot = federation.red.process("pilot", "red-mesh")
    os.kill(pilot, signal.SIGSTOP)
    try:
        code, link, took_s = check(federation.red)
    finally:
        os.kill(pilot, signal.SIGCONT)
    assert code == 1
    assert failures(link) in ({"resources": "KubernetesUnreachable"}, {"resources": "ControlPlaneDown"})
    assert took_s < 15


def test_without_the_right_to_ask(federation: Federation) -> None:
    """Who may only read gets what the status tells, and never green."""
    red = federation.red
    red.kubectl("create", "serviceaccount", "reader")
    red.kubectl("create", "role", "reader", "--verb=get,list", "--resource=servicemeshpeers.federation.maistra.io")
    red.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={red.namespace}:reader")
    token = red.kubectl("create", "token", "reader").stdout.strip()
    kubeconfig = json.loads(red.kubectl("config", "view", "--raw", "-o", "json").stdout)
    kubeconfig["users"] = [{"name": kubeconfig["users"][0]["name"], "user": {"token": token}}]
    path = red.data_dir / "reader.json"
    path.write_text(json.dumps(kubeconfig))
    try:
        code, link, _ = check(red, "-n", red.namespace, kubeconfig=str(path))
    finally:
        red.kubectl("delete", "serviceaccount/reader", "role/reader", "rolebinding/reader")
    assert (code, link["result"]) == (3, "unproved")
    assert "you may not patch" in steps(link)["data-path"]["message"]
    assert steps(link)["resources"]["result"] == "passed"


def test_status_of_all_contexts(federation: Federation) -> None:
    """Both meshes in one table; a cluster that does not answer is told, and the other is shown."""
    command = [str(BIN / "isthmus"), "status", "--all-contexts"]
    files = [str(site.data_dir / site.name / "kubeconfig") for site in federation.sites]
    environment = {**os.environ, "KUBECONFIG": os.pathsep.join(files)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    head, *rows = ran.stdout.splitlines()
    assert head.split()[:3] == ["CONTEXT", "MESH", "PEER"]
    assert [row.split()[1] for row in rows] == ["red-mesh-system/red-mesh", "green-mesh-system/green-mesh"]
    assert all("both ways" in row for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["blue-mesh"], "there is no ServiceMeshPeer blue-mesh"), (["--context", "blue"], "No context 'blue'")],
)
def test_what_is_not_there(federation: Federation, arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence."""
    ran = isthmus(federation.red, "check", *arguments)
    assert ran.returncode == 2
    assert said in ran.stderr
