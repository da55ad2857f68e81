"""Addresses, restarts, renewals."""

from ipaddress import IPv4Network

import pytest
from lightkube.models.core_v1 import Container, PodSpec, ResourceFieldSelector, ResourceRequirements

from isthmus.lab.node.addresses import AddressPool
from isthmus.lab.node.resources import resource
from isthmus.lab.node.restart import RestartDelay, restarts


def test_addresses_are_unique_and_not_used_again_soon() -> None:
    """A released address has its turn only after all others."""
    pool = AddressPool(IPv4Network("127.17.0.0/29"))  # .2 to .6
    first = [pool.take(f"pod-{number}") for number in range(3)]
    pool.release("pod-0")
    rest = [pool.take(f"more-{number}") for number in range(3)]
    assert first == ["127.17.0.2", "127.17.0.3", "127.17.0.4"]
    assert rest == ["127.17.0.5", "127.17.0.6", "127.17.0.2"]
    with pytest.raises(LookupError, match=r"all 5 of 127\.17\.0\.0/29 are in use"):
        pool.take("one too many")


def test_a_pod_keeps_its_address() -> None:
    """After a restart of the node a pod has the address it had, unless another has it."""
    pool = AddressPool(IPv4Network("127.17.0.0/24"))
    assert pool.take("a", wish="127.17.0.9") == "127.17.0.9"
    assert pool.take("a", wish="127.17.0.9") == "127.17.0.9"
    assert pool.take("b", wish="127.17.0.9") == "127.17.0.10"
    assert pool.take("c", wish="127.99.0.9") == "127.17.0.11"


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        (None, 0, True),
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", -9, True),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str | None, code: int, *, expected: bool) -> None:
    """The policy and the exit code decide."""
    assert restarts(policy, exit_code=code) is expected


def test_restart_delay() -> None:
    """The delay doubles from 0.2 s to 10 s, and begins anew after a long run."""
    delay = RestartDelay()
    assert [delay.after_run(1) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert delay.after_run(60) == 0.2
    assert delay.after_run(1) == 0.4


NODE = {"cpu": "4", "memory": "1000Ki"}


@pytest.mark.parametrize(
    ("limits", "requests", "path", "divisor", "expected"),
    [
        ({"cpu": "1500m"}, {}, "limits.cpu", None, "2"),
        ({"cpu": "1500m"}, {}, "limits.cpu", "1m", "1500"),
        ({"cpu": "1500m"}, {}, "requests.cpu", "1m", "1500"),
        ({"cpu": "1500m"}, {"cpu": "100m"}, "requests.cpu", "0", "1"),
        ({}, {}, "limits.cpu", None, "4"),
        ({}, {}, "requests.cpu", None, "0"),
        ({"memory": "1Gi"}, {}, "limits.memory", "1Mi", "1024"),
        ({}, {}, "limits.memory", None, "1024000"),
        ({}, {}, "limits.ephemeral-storage", None, "0"),
    ],
)
def test_resources(
    limits: dict[str, str], requests: dict[str, str], path: str, divisor: str | None, expected: str
) -> None:
    """In units of the divisor and rounded up; what is not set is the node's, the limit's, or nothing."""
    spec = PodSpec(containers=[Container(name="c", resources=ResourceRequirements(limits=limits, requests=requests))])
    selector = ResourceFieldSelector(resource=path, divisor=divisor)
    assert resource(spec, selector, container="c", node=NODE) == expected


def test_resources_that_there_are_not() -> None:
    """A container or a resource that there is not is named."""
    spec = PodSpec(containers=[Container(name="c")])
    with pytest.raises(LookupError, match="container 'other': the pod has no container of that name"):
        resource(spec, ResourceFieldSelector(resource="limits.cpu", containerName="other"), container="c", node=NODE)
    with pytest.raises(LookupError, match=r"Reading 'cpu': expected a resource such as limits\.cpu"):
        resource(spec, ResourceFieldSelector(resource="cpu"), container="c", node=NODE)


def test_an_address_that_is_none() -> None:
    """Whatever someone has written into a pod's status, the pod gets an address."""
    assert AddressPool(IPv4Network("127.17.0.0/24")).take("a", wish="nonsense") == "127.17.0.2"
