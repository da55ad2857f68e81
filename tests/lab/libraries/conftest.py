"""One cluster with a custom kind, for client libraries that know nothing of the lab; a namespace for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.libraries.widgets import DEFINITION
from tests.lab.machine import Cluster, Machine

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster that serves Widgets."""
    machine = Machine(tmp_path_factory.mktemp("lab"))
    try:
        [cluster] = machine.up("lib")
        cluster.apply(DEFINITION)
        cluster.kubectl("wait", "--for=condition=established", "crd/widgets.example.com", "--timeout=10s")
        yield cluster
    finally:
        machine.lab("down")


@pytest.fixture
def kubeconfig(cluster: Cluster) -> Path:
    """The file that every library is given."""
    return Path(cluster.kubeconfig)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of one's own."""
    name = f"n{next(NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    return name
