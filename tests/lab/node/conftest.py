"""A cluster whose pods the tests of the node run, and a namespace for each test."""

import itertools
from collections.abc import Iterator

import pytest
from tests.lab.machine import Cluster, Machine, processes_of
from tests.lab.node.live import Pods

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster; nothing of it is left at the end."""
    machine = Machine(tmp_path_factory.mktemp("lab"))
    try:
        (cluster,) = machine.up("pods")
        yield cluster
    finally:
        machine.lab("down")
        assert processes_of(machine.root) == []


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Pods]:
    """The pods of a namespace of one's own."""
    name = f"n{next(NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    yield Pods(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
