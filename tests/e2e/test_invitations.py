"""Two administrators, each with one cluster and no access to the other's: one invites, the other joins, or may not."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.conftest import BIN, Site, eventually
from tests.e2e.empty_meshes import EmptyMeshes, empty_meshes

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Administrator:
    """Who has the kubeconfig of one cluster, and of no other."""

    site: Site

    def start(self, *arguments: str, token: str = "") -> "subprocess.Popen[str]":
        """Start ``isthmus`` with the token on its standard input."""
        environment = {**os.environ, "KUBECONFIG": str(self.site.data_dir / self.site.name / "kubeconfig")}
        process = subprocess.Popen(
            [str(BIN / "isthmus"), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(token)
        process.stdin.close()
        process.stdin = None
        return process

    def isthmus(self, *arguments: str, token: str = "", expect: int = 0) -> tuple[str, str]:
        """What it prints, on both ways."""
        with self.start(*arguments, token=token) as process:
            out, error = process.communicate(timeout=100)
        assert process.returncode == expect, f"{process.returncode}: {out}\n{error}"
        return out, error

    def invite(self, *arguments: str) -> str:
        return self.isthmus("invite", *arguments)[0]

    def refused(self, token: str) -> str:
        """What ``isthmus join`` says of a token that must not do."""
        out, error = self.isthmus("join", "-", token=token, expect=2)
        assert out == ""
        return error

    def has(self) -> dict[str, Any]:
        """All that a join could change of the cluster; what others change about it left out."""
        listed = self.site.get("smcp,smp,configmaps,secrets,services,deployments,serviceaccounts")["items"]
        return {f"{each['kind']}/{each['metadata']['name']}": _content(each) for each in listed}

    def is_ready(self) -> bool:
        """Whether the condition Ready of the peer says so."""
        conditions = self.site.get("smp", self.site.peer).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def log(self) -> str:
        return self.site.logs(f"istiod-{self.site.mesh}")


def _content(obj: Any) -> str:
    return json.dumps({name: obj[name] for name in ("spec", "data") if name in obj}, sort_keys=True)


@pytest.fixture(scope="module")
def meshes() -> Iterator[EmptyMeshes]:
    with empty_meshes("red", "green") as running:
        yield running


@pytest.fixture
def red(meshes: EmptyMeshes) -> Administrator:
    return Administrator(meshes.site("red", "green"))


@pytest.fixture
def green(meshes: EmptyMeshes) -> Administrator:
    return Administrator(meshes.site("green", "red"))


def test_two_meshes_become_peers_by_a_token(red: Administrator, green: Administrator) -> None:
    """An invitation and a join make peers, ready on both sides; the token does not do twice; all can be undone."""
    before = red.has(), green.has()
    began = time.monotonic()
    token, told = red.isthmus("invite", "green-mesh")
    joined, said = green.isthmus("join", "-", token=token)
    took = time.monotonic() - began
    assert "green-mesh and red-mesh are peers" in joined
    for admin in (red, green):
        eventually(admin.is_ready, within_s=5, what=f"the peer of {admin.site.mesh} is ready")
        assert admin.site.is_active()
    assert took < 20, said
    roots = [line for text in (told, said) for line in text.splitlines() if "SHA-256" in line]
    assert len(roots) == 2
    assert len(set(roots)) == 1, "both administrators see the fingerprint of one root"
    assert "green-mesh  used" in red.invite("--list")

    both = red.has(), green.has()
    assert "there is a ServiceMeshPeer green-mesh-system/red-mesh already" in green.refused(token)
    assert (red.has(), green.has()) == both
    assert "peer enrolled" in red.log()

    green.isthmus("unlink", "green-mesh", "red-mesh", "--contexts", "green,-", "--apply")
    eventually(lambda: green.has() == before[1], what="nothing is left of it at green")
    assert "refuses (Used)" in green.refused(token)
    assert green.has() == before[1]
    red.isthmus("unlink", "red-mesh", "green-mesh", "--contexts", "red,-", "--apply")
    assert "green-mesh is no longer invited" in red.invite("--revoke", "green-mesh")
    eventually(lambda: red.has() == before[0], what="nothing is left of it at red")
    for text in (told, said, joined, red.log(), green.log(), json.dumps(both)):
        assert token.strip() not in text


def test_tokens_that_are_of_no_use(red: Administrator, green: Administrator) -> None:
    """Cut, changed, expired, replaced or revoked, or for another mesh: refused with the reason, and nothing is made."""
    untouched = green.has()
    old = red.invite("green-mesh", "--ttl", "1s")
    eventually(lambda: "green-mesh  expired" in red.invite("--list"), what="the invitation expires")
    assert "refuses (Expired)" in green.refused(old)
    token = red.invite("green-mesh")
    other = red.invite("blue-mesh")
    there = red.has()
    assert "incomplete or damaged" in green.refused(token[:-20])
    assert "it invites blue-mesh, not green-mesh" in green.refused(other)
    assert "a token of red-mesh itself" in red.refused(token)
    assert "refuses (NotProven)" in green.refused(old), "it was replaced"
    assert (red.has(), green.has()) == (there, untouched)

    red.site.kubectl("create", "-f", "-", stdin=_peer_of_domain("green-mesh.local"))
    try:
        assert "refuses (TrustDomainTaken)" in green.refused(token)
    finally:
        red.site.kubectl("delete", "smp", "lime-mesh")
    assert (red.has(), green.has()) == (there, untouched)

    for peer in ("green-mesh", "blue-mesh"):
        assert f"{peer} is no longer invited" in red.invite("--revoke", peer)
    assert "red-mesh takes no enrolment" in green.refused(token)
    assert "Nobody is invited." in red.invite("--list")
    assert green.has() == untouched


def test_what_was_made_is_taken_back(red: Administrator, green: Administrator) -> None:
    """An inviter that consents at first, and not in the end, leaves the joiner as it was."""
    untouched = red.has(), green.has()
    token = red.invite("green-mesh")
    with green.start("join", "-", token=token) as joining:
        assert joining.stderr is not None
        with paused(green.site.process("operator")):  # so that green's gateways take until the token is void
            assert any("would consent" in line for line in iter(joining.stderr.readline, ""))
            red.invite("green-mesh")
        assert "refuses (NotProven)" in joining.stderr.read()
    assert joining.returncode == 2
    eventually(lambda: green.has() == untouched[1], what="all is as it was")
    red.invite("--revoke", "green-mesh")
    eventually(lambda: red.has() == untouched[0], what="all is as it was")


@contextmanager
def paused(process: int) -> Iterator[None]:
    """A process that does nothing for the block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _peer_of_domain(domain: str) -> str:
    spec = {
        "remote": {"addresses": ["192.0.2.1"]},
        "gateways": {"ingress": {"name": "ingress-lime-mesh"}, "egress": {"name": "egress-lime-mesh"}},
        "security": {"trustDomain": domain, "clientID": f"{domain}/ns/lime/sa/x"},
    }
    kind = {"apiVersion": "federation.maistra.io/v1", "kind": "ServiceMeshPeer"}
    return json.dumps({**kind, "metadata": {"name": "lime-mesh"}, "spec": spec})
