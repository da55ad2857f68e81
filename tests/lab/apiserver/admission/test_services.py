"""Service addresses and defaults."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.lab.apiserver.admission.addresses import ServiceAddresses
from isthmus.lab.apiserver.admission.service import complete_service, service_errors
from isthmus.lab.apiserver.errors import StatusError


def service(**spec: Any) -> dict[str, Any]:
    obj = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], **spec}}
    complete_service(obj, None)
    return obj


def test_every_service_gets_an_address_of_its_own_until_there_is_none() -> None:
    """Addresses are given once, come back when released, and run out."""
    addresses = ServiceAddresses("127.96.0.0/30")
    given = []
    for _ in range(2):
        one = service()
        with addresses.allocated(one, None):
            given.append(one["spec"]["clusterIP"])
    assert given == ["127.96.0.1", "127.96.0.2"]
    with pytest.raises(StatusError, match="is full"), addresses.allocated(service(), None):
        pytest.fail("there was none left")
    addresses.release({"spec": {"clusterIP": "127.96.0.1"}})
    again = service()
    with addresses.allocated(again, None):
        assert again["spec"]["clusterIP"] == "127.96.0.1"


def test_an_address_comes_back_when_the_service_is_not_stored() -> None:
    """A write that fails takes nothing."""
    addresses = ServiceAddresses("127.96.0.0/30")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), addresses.allocated(service(), None):
            raise ZeroDivisionError


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("127.96.0.9", "already allocated"),
        ("10.0.0.1", "does not match the current range"),
        ("x", "must be a valid IP address"),
    ],
)
def test_an_address_asked_for_must_be_free_and_in_the_range(wanted: str, why: str) -> None:
    """What can't be had is refused with the reason."""
    addresses = ServiceAddresses("127.96.0.0/16")
    addresses.take({"spec": {"clusterIP": "127.96.0.9"}})
    with pytest.raises(StatusError, match=why), addresses.allocated(service(clusterIP=wanted), None):
        pytest.fail("it was given")


def test_headless_and_external_services_get_none() -> None:
    """``None`` is kept, an ExternalName has no address."""
    addresses = ServiceAddresses("127.96.0.0/16")
    headless, external = service(clusterIP="None"), service(type="ExternalName", externalName="example.com")
    with addresses.allocated(headless, None), addresses.allocated(external, None):
        assert headless["spec"]["clusterIP"] == "None"
        assert "clusterIP" not in external["spec"]


def test_node_ports_are_given_where_asked() -> None:
    """A NodePort service gets a port for each of its own; one that is taken can't be asked for."""
    addresses = ServiceAddresses("127.96.0.0/16")
    one = service(type="NodePort", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}])
    with addresses.allocated(one, None):
        ports = [port["nodePort"] for port in one["spec"]["ports"]]
    assert ports == [30000, 30001]
    taken = service(type="NodePort", ports=[{"port": 80, "nodePort": 30000}])
    with pytest.raises(StatusError, match="already allocated"), addresses.allocated(taken, None):
        pytest.fail("it was given")


def test_an_update_keeps_what_was_allocated() -> None:
    """An update that leaves address and ports out keeps them; one that changes the address is refused."""
    old = service(type="NodePort", clusterIP="127.96.0.5", ports=[{"port": 80, "nodePort": 30007}])
    new: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    complete_service(new, old)
    assert (new["spec"]["clusterIP"], new["spec"]["ports"][0]["nodePort"]) == ("127.96.0.5", 30007)
    new["spec"]["clusterIP"] = "127.96.0.6"
    assert [error.field for error in service_errors(new, old)] == ["spec.clusterIPs[0]"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"ports": []}, "spec.ports"),
        ({"type": "Odd"}, "spec.type"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "protocol": "X"}]}, "spec.ports[0].protocol"),
        ({"type": "ExternalName"}, "spec.externalName"),
    ],
)
def test_what_is_wrong_with_a_service_is_told_by_its_field(spec: dict[str, Any], field: str) -> None:
    """The first error names the field."""
    assert service_errors(service(**spec), None)[0].field == field
