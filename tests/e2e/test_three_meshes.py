"""Three meshes, each the others' peer, by six ServiceMeshPeers; blue has one pair of gateways for both of its peers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import REPOSITORY, Site, demonstration, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
NAMES = ("red", "green", "blue")
PAIRS = list(permutations(NAMES, 2))
SERVICES = {"red": "details", "green": "ratings", "blue": "reviews"}
EXAMPLES = REPOSITORY / "examples" / "three-meshes"


@dataclass(frozen=True)
class Meshes:
    """The three, and what the demonstration said of them."""

    data_dir: Path
    report: Any

    def site(self, name: str, peer: str) -> Site:
        """The mesh ``name``, looking at its peer ``peer``."""
        return Site(name, peer, self.data_dir)

    def last_answer(self, caller: str, server: str) -> int:
        """The status of the last answer that the client in ``caller`` got, or did not get (0), from ``server``."""
        log = self.site(caller, server).kubectl("logs", "-n", "bookinfo", "deploy/client", "--tail=20").stdout
        answers = [json.loads(line) for line in log.splitlines() if f"{server}-mesh-imports.local" in line]
        return int(answers[-1]["status"]) if answers else 0

    def is_whole(self) -> bool:
        """Whether every link stands in both directions and every client is answered by everyone."""
        links = all(self.site(*pair).is_active() for pair in PAIRS)
        return links and all(self.last_answer(*pair) == 200 for pair in PAIRS)


@pytest.fixture(scope="session")
def running_meshes() -> Iterator[Meshes]:
    with demonstration("red,green,blue") as (data_dir, report):
        yield Meshes(data_dir, report)


@pytest.fixture
def meshes(running_meshes: Meshes) -> Iterator[Meshes]:
    """The three, whole; and whole again after the test."""
    eventually(running_meshes.is_whole, what="the meshes are whole before the test")
    yield running_meshes
    for name, peer in PAIRS:
        file = EXAMPLES / name / f"servicemeshpeer-{peer}-mesh.yaml"
        running_meshes.site(name, peer).kubectl("apply", "-f", str(file))
    eventually(running_meshes.is_whole, what="the meshes are whole after the test")


def test_every_client_reaches_every_other_mesh(meshes: Meshes) -> None:
    """Each of six requests is answered by the mesh it was for, which let in the caller's egress gateway."""
    seen = {(each["from"], each["servedBy"]): each for each in meshes.report["requests"]}
    assert set(seen) == {(f"{caller}-mesh", f"{server}-mesh") for caller, server in PAIRS}
    for (caller, server), request in seen.items():
        gateway = "federation-egress" if caller == "blue-mesh" else f"egress-{server}"
        identity = f"spiffe://{caller}.local/ns/{caller}-system/sa/{gateway}-service-account"
        assert (request["status"], request["viaPeerIdentity"]) == (200, identity)


@pytest.mark.parametrize(("name", "peer"), PAIRS)
def test_each_peer_is_told_of_its_own_exports(meshes: Meshes, name: str, peer: str) -> None:
    """Every resource is active, exports the mesh's own service, and imports the peer's; nothing comes from a third."""
    site = meshes.site(name, peer)
    exported = site.get("exportedserviceset", site.peer)["status"]["exportedServices"]
    imported = site.get("importedserviceset", site.peer)["status"]["importedServices"]
    assert [each["exportedName"] for each in exported] == [f"{SERVICES[name]}.bookinfo.svc.{peer}-mesh-exports.local"]
    assert [each["exportedName"] for each in imported] == [f"{SERVICES[peer]}.bookinfo.svc.{name}-mesh-exports.local"]


@pytest.mark.parametrize("gone", ["red", "green"])
def test_one_peer_of_a_shared_gateway_goes(meshes: Meshes, gone: str) -> None:
    """When blue ends it with one peer, the other peer of the same gateways goes on; the one that went gets nothing."""
    (kept,) = {"red", "green"} - {gone}
    blue = meshes.site("blue", gone)
    blue.kubectl("delete", "servicemeshpeer", blue.peer)
    eventually(lambda: meshes.last_answer(gone, "blue") == 0, what=f"{gone} is shut out")
    eventually(lambda: meshes.last_answer("blue", gone) == 0, what=f"blue imports nothing of {gone}")
    assert meshes.last_answer(kept, "blue") == meshes.last_answer("blue", kept) == 200
    # The gateway's discovery listener is another now, which ends the watches over it: they are there again at once.
    for site in (meshes.site("blue", kept), meshes.site(kept, "blue")):
        eventually(site.is_active, within_s=5, what=f"{site.name} and its other peer are active")


def test_one_identity_cannot_take_the_others_place(meshes: Meshes) -> None:
    """When blue takes red for green, red is not let in as itself, and learns nothing of what is for green."""
    blue = meshes.site("blue", "red")
    blue.patch_peer(security={"clientID": "red-mesh.local/ns/red-mesh-system/sa/someone-else"})
    eventually(lambda: meshes.last_answer("red", "blue") == 0, what="red is shut out")
    eventually(lambda: "403" in meshes.site("red", "blue").inactive_cause(), what="red is told so")
    assert meshes.last_answer("green", "blue") == 200


MEMBER_ROLL = """
apiVersion: maistra.io/v1
kind: ServiceMeshMemberRoll
metadata: {name: default}
spec: {members: [%s]}
"""


def test_a_member_roll_limits_what_is_exported(meshes: Meshes) -> None:
    """A namespace that no longer belongs to blue's mesh is shared with no peer; as a member again, it is."""
    blue = meshes.site("blue", "red")
    blue.kubectl("apply", "-f", "-", stdin=MEMBER_ROLL % "shop")
    eventually(lambda: meshes.last_answer("red", "blue") == meshes.last_answer("green", "blue") == 0, what="withdrawn")
    eventually(lambda: not blue.get("exportedserviceset", "red-mesh")["status"]["exportedServices"], what="status")
    assert meshes.last_answer("blue", "red") == 200
    blue.kubectl("apply", "-f", "-", stdin=MEMBER_ROLL % "shop, bookinfo")
    eventually(meshes.is_whole, what="exported again")
    blue.kubectl("delete", "smmr", "default")
