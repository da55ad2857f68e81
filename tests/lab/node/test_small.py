"""Addresses, restarts, renewals."""

from ipaddress import IPv4Network

import pytest

from isthmus.lab.node.addresses import AddressPool
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


def test_an_address_that_is_none() -> None:
    """Whatever someone has written into a pod's status, the pod gets an address."""
    assert AddressPool(IPv4Network("127.17.0.0/24")).take("a", wish="nonsense") == "127.17.0.2"
