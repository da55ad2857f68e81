"""The clusters of a machine: their folders and their addresses."""

import os
import stat
from pathlib import Path

import pytest

from isthmus.lab.clusters import (
    LOOKED_UP_FOR_S,
    ClusterFolder,
    OtherZones,
    folders,
    other_zones,
)
from isthmus.lab.errors import ClusterError, ClusterRunningError
from isthmus.lab.plan import ClusterPlan, Wishes


def test_the_first_start_fixes_what_a_cluster_is(tmp_path: Path) -> None:
    """Block and domain are chosen once; later starts find them."""
    first = ClusterFolder(tmp_path, "red").prepare()
    assert first.apps_domain == "apps.red.test"
    assert ClusterFolder(tmp_path, "red").prepare() == first
    assert ClusterFolder(tmp_path, "red").plan() == first
    with pytest.raises(ClusterError, match=r"it has been made with apps\.red\.test; delete it first"):
        ClusterFolder(tmp_path, "red").prepare(Wishes(apps_domain="other.test"))


@pytest.mark.parametrize("template", ["apps.{name}.lab", "apps.<name>.lab"])
def test_apps_domain_template(tmp_path: Path, template: str) -> None:
    """The template's ``{name}`` (or ``<name>``) is the cluster's."""
    assert ClusterFolder(tmp_path, "red").prepare(Wishes(apps_domain=template)).apps_domain == "apps.red.lab"


def test_clusters_do_not_meet(tmp_path: Path) -> None:
    """No address belongs to two clusters, and all are loopback addresses."""
    plans = [ClusterFolder(tmp_path, f"c{number}").prepare() for number in range(12)]
    ranges = [network for p in plans for network in (p.range(0), p.pods, p.services, p.load_balancers)]
    assert all(network.is_loopback for network in ranges)
    assert len({int(network.network_address) for network in ranges}) == len(ranges)
    assert [folder.name for folder in folders(tmp_path)] == sorted(p.name for p in plans)


def test_addresses() -> None:
    """An address says whose it is."""
    plan = ClusterPlan(name="red", block=24, apps_domain="apps.red.test")
    assert (plan.address, plan.server, tuple(plan.dns)) == (
        "127.24.0.1",
        "https://127.24.0.1:6443",
        ("127.24.0.1", 10053),
    )
    assert (str(plan.pods), str(plan.services), str(plan.load_balancers)) == (
        "127.25.0.0/16",
        "127.26.0.0/16",
        "127.27.0.0/16",
    )


def test_zones_of_the_others(tmp_path: Path) -> None:
    """A cluster knows the zones of the others, not its own among them."""
    ClusterFolder(tmp_path, "red").prepare()
    green = ClusterFolder(tmp_path, "green").prepare()
    assert other_zones(tmp_path, "red") == [("apps.green.test", green.dns)]


def test_zones_of_the_others_are_looked_up_now_and_then(tmp_path: Path) -> None:
    """Who asks often is told what was found a moment ago; a new cluster is known a moment later."""
    now = 100.0
    others = OtherZones(tmp_path, "red", clock=lambda: now)
    assert others() == []
    green = ClusterFolder(tmp_path, "green").prepare()
    assert others() == []
    now += LOOKED_UP_FOR_S
    assert others() == [("apps.green.test", green.dns)]


@pytest.mark.parametrize("name", ["", "Red", "a b", "../x", "-a", "a" * 50, "a\n"])
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    """A name is a DNS label, so that it can be a folder, a context and a domain."""
    with pytest.raises(ClusterError, match="expected up to 40 lower-case letters"):
        ClusterFolder(tmp_path, name)


def test_one_process_a_cluster(tmp_path: Path) -> None:
    """Who runs a cluster is known as long as it does, and nobody else can."""
    folder = ClusterFolder(tmp_path, "red")
    folder.prepare()
    assert folder.pid() is None
    hold = folder.hold()
    assert folder.pid() == os.getpid()
    with pytest.raises(ClusterRunningError, match=f"process {os.getpid()} runs it already"):
        folder.hold()
    assert not folder.ready()
    folder.mark_ready()
    assert folder.ready()
    os.close(hold)
    assert folder.pid() is None
    assert not folder.ready()


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    """A cluster's folder is nobody else's business."""
    folder = ClusterFolder(tmp_path, "red")
    folder.prepare()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_damaged_record(tmp_path: Path) -> None:
    """A record that can't be read is an error that says what to do."""
    folder = ClusterFolder(tmp_path, "red")
    folder.prepare()
    (folder.path / "cluster.json").write_text('{"name": "red"')
    with pytest.raises(ClusterError, match="delete the cluster and make it anew"):
        folder.plan()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(pod_cidr="10.88.0.0"), r"--pod-cidr 10\.88\.0\.0: expected a prefix between /8 and /28"),
        (Wishes(pod_cidr="10.88.0.1/16"), r"--pod-cidr '10\.88\.0\.1/16': .* has host bits set"),
        (Wishes(service_cidr="many"), r"--service-cidr 'many': .*; expected a range such as 10\.88\.0\.0/16"),
        (
            Wishes(pod_cidr="127.250.0.0/16", service_cidr="127.250.128.0/24"),
            r"127\.250\.128\.0/24: it meets 127\.250\.0\.0/16, the range of this cluster; choose another one",
        ),
        (Wishes(service_cidr="127.248.0.0/16"), r"it meets 127\.248\.0\.0/16, the range of cluster 'red'"),
    ],
)
def test_ranges_that_can_not_be(tmp_path: Path, wishes: Wishes, message: str) -> None:
    """A range is checked before the cluster is made: what it is, and that it meets no other."""
    ClusterFolder(tmp_path, "red").prepare(Wishes(pod_cidr="127.248.0.0/16"))
    with pytest.raises(ClusterError, match=message):
        ClusterFolder(tmp_path, "green").prepare(wishes)
    assert not ClusterFolder(tmp_path, "green").exists()


def test_chosen_ranges(tmp_path: Path) -> None:
    """They are the cluster's for good; the rest of its addresses is as ever."""
    wishes = Wishes(pod_cidr="127.248.0.0/16", service_cidr="127.249.0.0/24")
    ClusterFolder(tmp_path, "red").prepare(wishes)
    plan = ClusterFolder(tmp_path, "red").prepare()
    assert (str(plan.pods), str(plan.services)) == (wishes.pod_cidr, wishes.service_cidr)
    assert plan.load_balancers == plan.range(3)
    with pytest.raises(ClusterError, match=r"pods in 127\.1\.0\.0/16: it has been made with 127\.248\.0\.0/16; delete"):
        ClusterFolder(tmp_path, "red").prepare(Wishes(pod_cidr="127.1.0.0/16"))
