"""The table of causes: each is brought about between two real meshes, and named by the resource of whoever looks.

One test a cause: something is broken, ``kubectl get smp`` names the reason, its condition says who has to act, the
Event is there, and ``isthmus check`` says the same. What a test breaks it mends, and the fixture waits until the
federation is whole again.
"""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.black_hole import black_hole
from tests.e2e import impostors
from tests.e2e.conftest import BIN, Federation, Site, eventually
from tests.identity.corpus import Recipe

from isthmus.federation.causes import BY_REASON
from isthmus.identity.pem import certificates_pem

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

HOUR = timedelta(hours=1)
Broken = Callable[[Federation], AbstractContextManager[object]]


@contextmanager
def spec(site: Site, **fields: Any) -> Iterator[None]:
    """Another spec of the peer's resource; the fixture applies the former one again."""
    site.patch_peer(**fields)
    yield


@contextmanager
def config_map(site: Site, data: dict[str, str] | None) -> Iterator[None]:
    """Another content of the ConfigMap with the peer's root, or none at all."""
    name = f"{site.peer}-ca-root-cert"
    found = site.get("configmap", name)
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": found["data"]}
    site.kubectl("delete", "configmap", name)
    if data is not None:
        site.kubectl("create", "-f", "-", stdin=json.dumps({**kept, "data": data}))
    try:
        yield
    finally:
        site.kubectl("delete", "configmap", name, "--ignore-not-found")
        site.kubectl("create", "-f", "-", stdin=json.dumps(kept))


@contextmanager
def no_peer(site: Site) -> Iterator[None]:
    """There is no resource for the other mesh."""
    site.kubectl("delete", "servicemeshpeer", site.peer)
    yield


@contextmanager
def no_kind(site: Site) -> Iterator[None]:
    """A kind that the control plane follows is not served any more: its view of the cluster grows old."""
    site.kubectl("delete", "crd", "servicemeshmemberrolls.maistra.io")
    try:
        yield
    finally:
        definitions = subprocess.run([str(BIN / "isthmus"), "crds"], capture_output=True, text=True, check=True)
        site.kubectl("apply", "--server-side", "-f", "-", stdin=definitions.stdout)


@contextmanager
def taken_port(site: Site) -> Iterator[None]:
    """Somebody has the port for services of the ingress gateway's pod, when the gateway is to listen there."""
    (pod,) = site.get("pods", "-l", f"app=ingress-{site.peer}")["items"]
    with no_peer(site), socket.socket() as taking:

        def is_taken() -> bool:
            try:
                taking.bind((pod["status"]["podIP"], 15443))
            except OSError:
                return False
            return True

        eventually(is_taken, what="the gateway has given up its port")
        taking.listen()
        site.kubectl("apply", "-f", str(site.files / "servicemeshpeer.yaml"))
        try:
            yield
        finally:
            site.kubectl("delete", "servicemeshpeer", site.peer)


@contextmanager
def control_plane(site: Site, spec: dict[str, Any], undo: dict[str, Any]) -> Iterator[None]:
    """Another spec of the mesh itself."""
    site.kubectl("patch", "smcp", site.mesh, "--type=merge", "-p", json.dumps({"spec": spec}))
    try:
        yield
    finally:
        site.kubectl("patch", "smcp", site.mesh, "--type=merge", "-p", json.dumps({"spec": undo}))
        site.kubectl("wait", "--for=condition=Ready", f"smcp/{site.mesh}", "--timeout=30s")


def replicas(count: int | None) -> dict[str, Any]:
    return {"deployment": {"replicas": count}}


def pilot_replicas(count: int | None) -> dict[str, Any]:
    return {"runtime": {"components": {"pilot": replicas(count)}}}


def egress_replicas(site: Site, count: int | None) -> dict[str, Any]:
    return {"gateways": {"additionalEgress": {f"egress-{site.peer}": {"runtime": replicas(count)}}}}


@contextmanager
def elsewhere(site: Site, server: AbstractContextManager[int]) -> Iterator[None]:
    """The peer's resource leads to somebody else."""
    with server as port:
        site.patch_peer(remote={"addresses": [impostors.ADDRESS], "discoveryPort": port})
        yield


@contextmanager
def calls_elsewhere(federation: Federation) -> Iterator[None]:
    """Discovery leads to somebody who passes for green, calls of services to another workload of green."""
    red, green = federation.sites
    page = impostors.peer(listed=impostors.list_of(green))
    other = impostors.svid_of(green, now=datetime.now(UTC), account="egress")
    with behind(federation, page) as port, impostors.standing(impostors.quiet, impostors.context_of(other)) as services:
        red.patch_peer(remote={"addresses": [impostors.ADDRESS], "discoveryPort": port, "servicePort": services})
        yield


def behind(federation: Federation, handler: impostors.Handler, **when: Any) -> AbstractContextManager[int]:
    """A server with a certificate of green's ingress gateway, of this hour unless told otherwise."""
    svid = impostors.svid_of(federation.green, **{"now": datetime.now(UTC), **when})
    return impostors.standing(handler, impostors.context_of(svid))


def expired_root() -> dict[str, str]:
    """A root of yesterday."""
    now = datetime.now(UTC)
    recipe = Recipe(
        subject="old root", ca=True, key_usage=None, uris=(), not_before=now - 9 * HOUR, not_after=now - HOUR
    )
    return {"root-cert.pem": certificates_pem([recipe.self_signed()]).decode()}


def other_root() -> dict[str, str]:
    """A root of somebody else."""
    now = datetime.now(UTC)
    recipe = Recipe(
        subject="other root", ca=True, key_usage=None, uris=(), not_before=now - HOUR, not_after=now + 9 * HOUR
    )
    return {"root-cert.pem": certificates_pem([recipe.self_signed()]).decode()}


def security(domain: str, account: str) -> dict[str, str]:
    return {"trustDomain": domain, "clientID": f"{domain}/ns/green-mesh-system/sa/{account}"}


@dataclass(frozen=True)
class Case:
    """What is broken, and what red's resource says of it; ``also`` is what another condition says, by side."""

    broken: Broken
    also: tuple[tuple[str, str, str], ...] = ()


CASES: dict[str, Case] = {
    "AddressNotResolved": Case(lambda f: spec(f.red, remote={"addresses": ["nowhere.example"]})),
    "ConnectionRefused": Case(lambda f: spec(f.red, remote={"addresses": [impostors.ADDRESS]})),
    "ConnectionTimedOut": Case(lambda f: elsewhere(f.red, black_hole(impostors.ADDRESS))),
    "NotTls": Case(lambda f: elsewhere(f.red, impostors.standing(impostors.greets))),
    "HandshakeFailed": Case(lambda f: elsewhere(f.red, impostors.standing(impostors.hangs_up))),
    "UnexpectedServer": Case(
        lambda f: elsewhere(f.red, impostors.standing(impostors.website_page, impostors.website()))
    ),
    "UnknownRoot": Case(
        lambda f: config_map(f.red, other_root()),
        also=(("red", "RemoteConnected", "RemoteUntrusted"), ("green", "Admitted", "CertificateRefused")),
    ),
    "WrongTrustDomain": Case(
        lambda f: spec(f.red, security=security("blue-mesh.local", "egress-red-mesh-service-account"))
    ),
    "CertificateExpired": Case(
        lambda f: elsewhere(
            f.red,
            behind(
                f,
                impostors.website_page,
                now=datetime.now(UTC) - timedelta(minutes=1),
                lifetime=timedelta(seconds=1),
            ),
        )
    ),
    "CertificateNotYetValid": Case(
        lambda f: elsewhere(f.red, behind(f, impostors.website_page, now=datetime.now(UTC) + HOUR))
    ),
    "CertificateRefused": Case(
        lambda f: config_map(f.green, other_root()), also=(("green", "RemoteConnected", "RemoteUntrusted"),)
    ),
    "ClientRefused": Case(
        lambda f: spec(f.green, security={"clientID": "red-mesh.local/ns/red-mesh-system/sa/other"}),
        also=(("green", "RemoteConnected", "RemoteRefused"),),
    ),
    "NoPeerForUs": Case(lambda f: no_peer(f.green)),
    "PeerControlPlaneDown": Case(lambda f: control_plane(f.green, pilot_replicas(0), pilot_replicas(None))),
    "ProtocolError": Case(lambda f: elsewhere(f.red, behind(f, impostors.peer(listed=b'{"services": 1}')))),
    "ClocksApart": Case(lambda f: elsewhere(f.red, behind(f, impostors.peer(ahead_s=600)))),
    "ListNotReceived": Case(lambda f: elsewhere(f.red, behind(f, impostors.peer(listed=None)))),
    "RemoteNotConnected": Case(
        lambda f: spec(f.green, remote={"addresses": ["nowhere.example"]}),
        also=(("green", "Reachable", "AddressNotResolved"),),
    ),
    "RemoteRefused": Case(
        lambda f: spec(f.red, security={"clientID": "green-mesh.local/ns/green-mesh-system/sa/other"}),
        also=(("green", "Admitted", "ClientRefused"),),
    ),
    "WrongIdentity": Case(calls_elsewhere),
    "RootNotFound": Case(lambda f: config_map(f.red, None)),
    "RootKeyMissing": Case(lambda f: config_map(f.red, {"ca.pem": "x"})),
    "RootInvalid": Case(lambda f: config_map(f.red, {"root-cert.pem": "no PEM"})),
    "RootExpired": Case(lambda f: config_map(f.red, expired_root())),
    "ClientOutsideTrustDomain": Case(lambda f: spec(f.red, security={"trustDomain": "blue-mesh.local"})),
    "GatewayNotFound": Case(lambda f: spec(f.red, gateways={"egress": {"name": "egress-nowhere"}})),
    "ConfigurationRejected": Case(lambda f: taken_port(f.red)),
    "KubernetesUnreachable": Case(lambda f: no_kind(f.red)),
    "GatewayNotReady": Case(
        lambda f: control_plane(f.red, egress_replicas(f.red, 0), egress_replicas(f.red, None)),
    ),
}
"""By the reason that red's ServiceMeshPeer gives."""


def conditions(site: Site) -> dict[str, dict[str, str]]:
    """The conditions of the peer's resource by type; none while there is no resource."""
    found = site.kubectl("get", "servicemeshpeer", site.peer, "-o", "json", check=False)
    status = json.loads(found.stdout).get("status", {}) if found.returncode == 0 else {}
    return {each["type"]: each for each in status.get("conditions", [])}


def reason(site: Site, type_: str = "Ready") -> str:
    return conditions(site).get(type_, {}).get("reason", "")


def wait_reason(site: Site, expected: str, type_: str = "Ready") -> float:
    """Wait until a condition has this reason; seconds it took. The failure tells what it had instead."""
    try:
        return eventually(lambda: reason(site, type_) == expected, within_s=45)
    except pytest.fail.Exception:
        told = {name: each["reason"] for name, each in conditions(site).items()}
        pytest.fail(f"{site.mesh}: {type_} is not {expected} within 45 s; conditions: {told}")


def test_calls_that_do_not_arrive_are_no_secret(federation: Federation) -> None:
    """The watch stands, and nobody listens at the port for services: the link is not ready, and says at which port."""
    red = federation.red
    wait_reason(red, "Ready")
    with spec(red, remote={"servicePort": 15444}):
        wait_reason(red, "ConnectionRefused")
        assert red.is_active()
        assert ":15444" in conditions(red)["Reachable"]["message"]


@pytest.mark.parametrize("expected", CASES)
def test_each_cause_is_named(federation: Federation, expected: str) -> None:
    """Within seconds the resource's columns, condition and Event name the cause; healed, all is ready again."""
    red, case = federation.red, CASES[expected]
    wait_reason(red, "Ready")
    with case.broken(federation):
        took_s = wait_reason(red, expected)
        print(f"{expected}: named after {took_s:.1f} s")
        cause, found = BY_REASON[expected], conditions(red)
        assert found[cause.condition]["reason"] == expected
        assert found[cause.condition]["status"] != "True"
        assert found["Ready"]["message"].startswith(f"{cause.condition}: ")
        columns = red.kubectl("get", "smp", red.peer, "--no-headers").stdout.split()
        assert columns[1:3] == ["False", expected]
        for name, type_, other in case.also:
            site = federation.red if name == "red" else federation.green
            wait_reason(site, other, type_)
        eventually(lambda: expected in told(red), what=f"an Event with {expected}")
        assert (expected, cause.side) in checked(red)


def checked(site: Site) -> list[tuple[str, str]]:
    """What ``isthmus check`` finds wrong: causes, and who has to act."""
    kubeconfig = site.data_dir / site.name / "kubeconfig"
    command = [str(BIN / "isthmus"), "check", site.peer, "-n", site.namespace, "--kubeconfig", str(kubeconfig)]
    found = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 1, found.stderr
    (link,) = json.loads(found.stdout)
    return [(step["cause"], step["side"]) for step in link["steps"] if step["result"] == "failed"]


def told(site: Site) -> list[str]:
    """The reasons of the Events of the peer's resource."""
    events = site.get("events", "--field-selector", "involvedObject.kind=ServiceMeshPeer")["items"]
    return [event["reason"] for event in events]
