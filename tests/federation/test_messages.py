"""Messages between meshes are written exactly as documented, and read only if they are messages."""

import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.federation.strategies import service_lists, services

from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import (
    MAX_EVENT_BYTES,
    MAX_LIST_BYTES,
    MAX_SERVICES,
    Health,
    MalformedMessageError,
    ServiceList,
    ServiceMessage,
    ServicePort,
    WatchEvent,
    encode,
    parse_service_list,
    parse_watch_event,
)

RATINGS = ServiceMessage(
    name="ratings",
    namespace="bookinfo",
    hostname="ratings.bookinfo.svc.red-mesh-exports.local",
    service_ports=(ServicePort("http", 9080, "HTTP"),),
    service_accounts=("spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account",),
)
RATINGS_JSON = (
    b'{"name":"ratings","namespace":"bookinfo","hostname":"ratings.bookinfo.svc.red-mesh-exports.local",'
    b'"servicePorts":[{"name":"http","port":9080,"protocol":"HTTP"}],'
    b'"serviceAccounts":["spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account"]}'
)


def test_the_empty_list_is_written_without_its_services() -> None:
    """§2: an empty list is {"checksum": 3035108133973235477}."""
    assert encode(Catalogue().as_list()) == b'{"checksum":3035108133973235477}'


def test_the_documented_list_is_written_key_by_key() -> None:
    """§2: a list is its checksum, then its services; a service has the documented keys in the documented order."""
    catalogue = Catalogue([RATINGS])
    assert encode(catalogue.as_list()) == b'{"checksum":%d,"services":[%b]}' % (catalogue.checksum, RATINGS_JSON)


def test_an_event_is_written_key_by_key() -> None:
    """§2: action, service, checksum."""
    event = WatchEvent("delete", RATINGS, 2**64 - 1)
    assert encode(event) == b'{"action":"delete","service":%b,"checksum":18446744073709551615}' % RATINGS_JSON


def test_health_is_an_extra_key() -> None:
    """What Isthmus adds: service.health, {"ready": n, "total": m}; zero is told."""
    service = ServiceMessage(hostname="a", health=Health(ready=0, total=3))
    assert encode(service) == b'{"hostname":"a","health":{"ready":0,"total":3}}'


def test_a_list_is_sorted_by_hostname() -> None:
    """§2: sorted by hostname, whatever the order of arrival."""
    catalogue = Catalogue(ServiceMessage(hostname=hostname) for hostname in "bca")
    assert [service.hostname for service in catalogue.as_list().services] == ["a", "b", "c"]


def test_unknown_keys_are_ignored() -> None:
    """§2: a newer peer may send more than we know, at every depth."""
    event = b'{"action":"add","new":[{}],"service":{"hostname":"a","servicePorts":[{"new":1}]},"checksum":1}'
    assert parse_watch_event(event) == WatchEvent(
        "add", ServiceMessage(hostname="a", service_ports=(ServicePort(),)), 1
    )


@given(service_lists)
def test_a_list_round_trips(messages: list[ServiceMessage]) -> None:
    """Reading what was written gives the same list, checksum included."""
    written = Catalogue(messages).as_list()
    assert parse_service_list(encode(written)) == written


@given(st.sampled_from(["add", "update", "delete"]), services(), st.integers(0, 2**64 - 1))
def test_an_event_round_trips(action: str, service: ServiceMessage, checksum: int) -> None:
    """Reading what was written gives the same event; 64 bits are kept exactly."""
    event = msgspec.convert({"action": action, "service": service, "checksum": checksum}, WatchEvent)
    assert parse_watch_event(encode(event)) == event


MALFORMED_LISTS = {
    "nothing": b"",
    "not JSON": b"<html>502</html>",
    "truncated": b'{"checksum":1,"services":[{"hostname":"a"',
    "two values": b'{"checksum":1}{"checksum":1}',
    "no object": b"[]",
    "no checksum": b"{}",
    "a checksum as text": b'{"checksum":"1"}',
    "a checksum as a double": b'{"checksum":1.5}',
    "a negative checksum": b'{"checksum":-1}',
    "a checksum of 65 bits": b'{"checksum":18446744073709551616}',
    "a checksum of 5000 digits": b'{"checksum":%b}' % (b"9" * 5000),
    "services as an object": b'{"checksum":1,"services":{}}',
    "a null service": b'{"checksum":1,"services":[null]}',
    "no hostname": b'{"checksum":1,"services":[{"name":"a"}]}',
    "one hostname twice": b'{"checksum":1,"services":[{"hostname":"a"},{"hostname":"a"}]}',
    "a long name": b'{"checksum":1,"services":[{"hostname":"%b"}]}' % (b"a" * 254),
    "a port too high": b'{"checksum":1,"services":[{"hostname":"a","servicePorts":[{"port":65536}]}]}',
    "a negative port": b'{"checksum":1,"services":[{"hostname":"a","servicePorts":[{"port":-1}]}]}',
    "a null port": b'{"checksum":1,"services":[{"hostname":"a","servicePorts":[null]}]}',
    "too many ports": b'{"checksum":1,"services":[{"hostname":"a","servicePorts":[%b]}]}' % b",".join([b"{}"] * 1001),
    "too many accounts": b'{"checksum":1,"services":[{"hostname":"a","serviceAccounts":[%b""]}]}' % (b'"",' * 100),
    "a negative health": b'{"checksum":1,"services":[{"hostname":"a","health":{"ready":-1,"total":0}}]}',
    "not UTF-8": b'{"checksum":1,"services":[{"hostname":"\xff"}]}',
    "half a surrogate pair": b'{"checksum":1,"services":[{"hostname":"\\ud800 and more text"}]}',
    "nested lists": b'{"checksum":1,"x":%b' % (b"[" * 200_000),
    "nested objects": b'{"checksum":1,"x":%b' % (b'{"a":' * 200_000),
    "too many services": b'{"checksum":1,"services":[%b{}]}'
    % b"".join(b'{"hostname":"%d"},' % i for i in range(MAX_SERVICES)),
    "too long": b'{"checksum":1}' + b" " * MAX_LIST_BYTES,
}


@pytest.mark.parametrize("body", MALFORMED_LISTS.values(), ids=MALFORMED_LISTS.keys())
def test_a_malformed_list_is_refused(body: bytes) -> None:
    """A peer's body that is no list raises the one error of this room, in one short line."""
    with pytest.raises(MalformedMessageError) as raised:
        parse_service_list(body)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        b'{"action":"replace","service":{"hostname":"a"},"checksum":1}',
        b'{"action":"add","checksum":1}',
        b'{"action":"add","service":{},"checksum":1}',
        b'{"action":"add","service":{"hostname":"a"},"checksum":-1}',
        b'{"action":"add","service":{"hostname":"a"},"checksum":1}' + b" " * MAX_EVENT_BYTES,
    ],
    ids=["unknown action", "no service", "no hostname", "negative checksum", "too long"],
)
def test_a_malformed_event_is_refused(line: bytes) -> None:
    """A line of a watch that is no event raises the one error of this room."""
    with pytest.raises(MalformedMessageError):
        parse_watch_event(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children) | st.dictionaries(st.sampled_from(["services", "checksum", "hostname"]), children)
    ),
)


@given(st.binary() | json_values.map(msgspec.json.encode))
@example(b'{"checksum":0,"services":null}')
def test_any_bytes_are_a_list_or_refused(body: bytes) -> None:
    """No bytes of a peer make the parser do anything but return a list or raise its one error."""
    with contextlib.suppress(MalformedMessageError):
        assert isinstance(parse_service_list(body), ServiceList)


@given(st.data(), services())
def test_any_damage_to_an_event_is_survived(data: st.DataObject, service: ServiceMessage) -> None:
    """An event with some bytes changed is an event or refused, and what is accepted can be written again."""
    line = bytearray(encode(WatchEvent("add", service, 1)))
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    try:
        event = parse_watch_event(bytes(line))
    except MalformedMessageError:
        return
    assert parse_watch_event(encode(event)) == event
