"""The checksums agree with those that Go's hashstructure computes (``vectors/checksums.json``)."""

import json
from functools import reduce
from operator import xor
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.federation.strategies import services

from isthmus.federation.checksum import NULL_HASH, fnv64, list_checksum, port_hash, remote_checksum, service_hash
from isthmus.federation.messages import ServiceMessage, ServicePort

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors/checksums.json").read_text("utf-8"))


def _vectors(kind: str) -> list[Any]:
    return [pytest.param(v["input"], int(v["checksum"]), id=v["name"]) for v in VECTORS if v["kind"] == kind]


def _port(value: dict[str, Any]) -> ServicePort:
    return ServicePort(value.get("name", ""), value.get("port", 0), value.get("protocol", ""))


def _service(value: dict[str, Any]) -> ServiceMessage:
    """A vector as a message; built directly, because a parsed message has no port beyond 65535."""
    return ServiceMessage(
        name=value.get("name", ""),
        namespace=value.get("namespace", ""),
        hostname=value.get("hostname", ""),
        # A null port is in the vectors, and in no message that we accept.
        service_ports=tuple(_port(port) if port is not None else None for port in value.get("servicePorts") or ()),  # type: ignore[misc]
        service_accounts=tuple(value.get("serviceAccounts") or ()),
    )


def test_all_vectors_are_used() -> None:
    """Every vector is of a kind that is tested below."""
    assert len(VECTORS) == sum(len(_vectors(kind)) for kind in ("service", "serviceList", "remote")) == 189


@pytest.mark.parametrize(("value", "expected"), _vectors("service"))
def test_service(value: dict[str, Any], expected: int) -> None:
    """§4: a service hashes as the peer hashes it."""
    assert service_hash(_service(value)) == expected


@pytest.mark.parametrize(("value", "expected"), _vectors("serviceList"))
def test_list(value: dict[str, Any], expected: int) -> None:
    """§4: a list is the XOR over its services, finished by a hash."""
    hashes = (service_hash(_service(s)) if s is not None else NULL_HASH for s in value.get("services") or ())
    assert list_checksum(reduce(xor, hashes, 0)) == expected


@pytest.mark.parametrize(("value", "expected"), _vectors("remote"))
def test_remote(value: dict[str, Any], expected: int) -> None:
    """§4: the ports of a remote are hashed as 32 bits, as they are written in the resource."""
    checksum = remote_checksum(
        value.get("addresses") or (),
        discovery_port=value.get("discoveryPort", 0),
        service_port=value.get("servicePort", 0),
    )
    assert checksum == expected


def test_the_empty_list() -> None:
    """§2: the empty list is {"checksum": 3035108133973235477}."""
    assert list_checksum(0) == 3035108133973235477


def test_fnv_of_nothing_is_the_basis() -> None:
    """§4: FNV64 of no bytes is the offset basis."""
    assert fnv64(b"") == 0xCBF29CE484222325


@given(services(), st.randoms())
def test_order_is_irrelevant(service: ServiceMessage, random: Random) -> None:
    """§4: slices are sets, so the order of ports and of accounts does not count."""
    ports, accounts = list(service.service_ports), list(service.service_accounts)
    random.shuffle(ports)
    random.shuffle(accounts)
    shuffled = msgspec.structs.replace(service, service_ports=tuple(ports), service_accounts=tuple(accounts))
    assert service_hash(shuffled) == service_hash(service)


@given(services())
def test_additions_are_outside_the_checksum(service: ServiceMessage) -> None:
    """§2: health and locality do not count."""
    bare = msgspec.structs.replace(service, health=None, locality=None)
    assert service_hash(bare) == service_hash(service)


def test_an_equal_port_has_the_same_hash_from_the_cache() -> None:
    """Two ports that are equal are one key of the cache, and two that differ are two."""
    assert port_hash(ServicePort("http", 80, "HTTP")) == port_hash(ServicePort("http", 80, "HTTP"))
    assert port_hash(ServicePort("http", 80, "HTTP")) != port_hash(ServicePort("http", 81, "HTTP"))
