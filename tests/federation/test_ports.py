"""Gateway ports: who holds which, against a plain dictionary.

Section: docs/architecture.md, "How workloads reach what is imported".
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.federation.ports import FIRST_PORT, LAST_PORT, ImportKey, PortBook, PortsExhaustedError

KEYS = [ImportKey("green-mesh", f"s{number}.a.svc.red-mesh-exports.local", 80) for number in range(4)]
PORTS = [FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 2, LAST_PORT, LAST_PORT + 1]
_steps = st.tuples(st.sampled_from(["take", "give back", "adopt"]), st.sampled_from(KEYS), st.sampled_from(PORTS))


@given(st.lists(_steps))
def test_no_port_is_held_twice_and_the_lowest_free_one_is_taken(steps: list[tuple[str, ImportKey, int]]) -> None:
    """Whatever is taken, given back and adopted, the book is what a dictionary says."""
    book, model = PortBook(), dict[ImportKey, int]()
    for step, key, port in steps:
        if step == "take":
            model.setdefault(key, next(each for each in range(FIRST_PORT, LAST_PORT) if each not in model.values()))
            assert book.take(key) == model[key]
        elif step == "give back":
            book.give_back(key)
            model.pop(key, None)
        elif port <= LAST_PORT and model.get(key) != port:
            displaced = next((each for each, held in model.items() if held == port), None)
            assert book.adopt(key, port) == displaced
            model = {each: held for each, held in model.items() if each not in {key, displaced}} | {key: port}
        assert dict(book.held()) == model


def test_a_port_that_no_gateway_has_is_not_adopted() -> None:
    """What someone wrote into an object by hand is no port of a gateway."""
    book = PortBook()
    assert book.adopt(KEYS[0], 80) is None
    assert book.held() == {}


def test_ports_run_out_and_come_back() -> None:
    """With all ports in use nothing is given out; one that is given back is."""
    every = [
        ImportKey("green-mesh", "s.a.svc.red-mesh-exports.local", port) for port in range(FIRST_PORT, LAST_PORT + 1)
    ]
    book = PortBook({key: key.port for key in every})
    with pytest.raises(PortsExhaustedError, match="no gateway port is left"):
        book.take(KEYS[0])
    book.give_back(every[7])
    assert book.take(KEYS[0]) == every[7].port
