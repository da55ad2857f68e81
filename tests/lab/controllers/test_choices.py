"""Small decisions: which address, which node, which pod goes first."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus, PodCondition, PodSpec, PodStatus
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Node, Pod

from isthmus.lab.controllers.loadbalancer import choose_address
from isthmus.lab.controllers.replicaset import deletion_rank, replica_set_status
from isthmus.lab.controllers.scheduler import choose_node

POOL = IPv4Network("127.19.0.0/28")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("taken", "wish", "expected"),
    [
        (set(), None, "127.19.0.10"),
        ({"127.19.0.10"}, None, "127.19.0.11"),
        ({"127.19.0.10"}, "127.19.0.12", "127.19.0.12"),
        ({"127.19.0.12"}, "127.19.0.12", "127.19.0.10"),
        (set(), "127.20.0.1", "127.19.0.10"),
    ],
    ids=["first", "next", "wished", "wished but taken", "wished but elsewhere"],
)
def test_load_balancer_address(taken: set[str], wish: str | None, expected: str) -> None:
    """The wished address if it can be had, else the first free one."""
    assert choose_address(POOL, taken=taken, wish=wish) == expected


def test_no_address_is_left() -> None:
    """An exhausted pool is an error that says what to do."""
    with pytest.raises(LookupError, match=r"all of 127\.19\.0\.0/28 are in use; delete"):
        choose_address(POOL, taken={str(address) for address in POOL}, wish=None)


def node(name: str, *, ready: bool = True, cordoned: bool = False) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={"disk": name}),
        spec=NodeSpec(unschedulable=cordoned),
        status=NodeStatus(conditions=[NodeCondition(type="Ready", status="True" if ready else "False")]),
    )


def test_the_emptiest_ready_node() -> None:
    """A pod goes to the ready node with the fewest pods and the labels asked for; to none if there is none."""
    on_a = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=[], nodeName="a"))
    nodes = [node("a"), node("b"), node("c", ready=False), node("d", cordoned=True)]
    assert choose_node(nodes, [on_a], selector=None) == "b"
    assert choose_node(nodes, [on_a], selector={"disk": "a"}) == "a"
    assert choose_node(nodes, [], selector={"disk": "c"}) is None


def pod(name: str, *, bound: bool, ready: bool, age: int) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, creationTimestamp=datetime.fromtimestamp(1000 - age, UTC)),
        spec=PodSpec(containers=[], nodeName="a" if bound else None),
        status=PodStatus(conditions=[PodCondition(type="Ready", status="True" if ready else "False")]),
    )


def test_who_is_deleted_first() -> None:
    """Pods without a node go first, then those that are not ready, then the youngest."""
    pods = [
        pod("old", bound=True, ready=True, age=100),
        pod("young", bound=True, ready=True, age=1),
        pod("sick", bound=True, ready=False, age=100),
        pod("waiting", bound=False, ready=False, age=100),
    ]
    ranked = sorted(pods, key=deletion_rank)
    assert [p.metadata.name for p in ranked if p.metadata] == ["waiting", "sick", "young", "old"]


@pytest.mark.parametrize(
    ("wait_s", "set_by", "available"),
    [
        (0, timedelta(), 1),
        (0, timedelta(hours=1), 1),
        (0, timedelta(hours=-1), 1),
        (30, timedelta(), None),
        (30, timedelta(seconds=30), 1),
        (30, timedelta(hours=1), 1),
        (30, timedelta(hours=-1), 1),
    ],
)
def test_a_clock_that_is_set_makes_no_pod_unavailable(wait_s: int, set_by: timedelta, available: int | None) -> None:
    """A pod that is ready is available after its time, and stays so when the clock is set back before it."""
    condition = PodCondition(type="Ready", status="True", lastTransitionTime=NOW)
    spec = ReplicaSetSpec(selector=LabelSelector(), minReadySeconds=wait_s)
    replica_set = ReplicaSet(metadata=ObjectMeta(name="a"), spec=spec)
    one = Pod(metadata=ObjectMeta(name="p"), status=PodStatus(conditions=[condition]))
    assert replica_set_status(replica_set, [one], now=NOW + set_by).availableReplicas == available
