"""The objects of an import, and what a restart reads back from them."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.federation import strategies

from isthmus.federation.import_table import Import
from isthmus.federation.imports import ImportedName
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.federation.names import is_dns_label
from isthmus.federation.ports import ImportKey, PortBook
from isthmus.federation.selection import QualifiedName
from isthmus.federation.workload import Workload, workload
from isthmus.kube.store import metadata_of
from isthmus.pilot.objects import (
    hostname_of,
    import_names,
    import_service,
    import_slice,
    is_joined_by,
    is_made_by,
    made_by,
    names_of_ports,
    one_family,
    port_names,
    remembered,
    remembered_ports,
)

HOSTNAME = "ratings.bookinfo.svc.red-mesh-exports.local"
NAME = ("green-mesh", HOSTNAME)
RATINGS = ServiceMessage(
    name="ratings",
    namespace="bookinfo",
    hostname=HOSTNAME,
    service_ports=(ServicePort("http", 9080, "HTTP"), ServicePort("grpc", 9090, "GRPC")),
    service_accounts=("spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account",),
)


def made(message: ServiceMessage = RATINGS, *, is_local: bool = False, peer: str = "green-mesh") -> Workload:
    """The objects that an import of the message calls for."""
    suffix = "svc.cluster.local" if is_local else f"svc.{peer}-imports.local"
    called = ImportedName(QualifiedName("bookinfo", "ratings"), f"ratings.bookinfo.{suffix}", is_local=is_local)
    return workload(Import(peer, message, called), namespace="red-mesh-system", book=PortBook())


def with_ports(*ports: tuple[str, int]) -> ServiceMessage:
    """The message with other ports."""
    return msgspec.structs.replace(RATINGS, service_ports=tuple(ServicePort(name, port, "TCP") for name, port in ports))


def from_server(obj: Service | EndpointSlice) -> Service | EndpointSlice:
    """The object as it comes back: through JSON."""
    return msgspec.json.decode(msgspec.json.encode(obj), type=type(obj))


def test_an_import_is_a_service_and_a_slice_behind_it() -> None:
    """Clients call the service's own ports, by its protocols; the slice leads them to the gateway's."""
    service = import_service(made())
    assert service.spec is not None
    ports = [(each.name, each.port, each.targetPort, each.appProtocol) for each in service.spec.ports or ()]
    assert ports == [("http", 9080, 16000, "http"), ("grpc", 9090, 16001, "kubernetes.io/h2c")]
    assert service.spec.selector is None
    assert hostname_of(service) == "ratings.bookinfo.svc.green-mesh-imports.local"
    behind = import_slice(made(), ["10.0.0.2", "10.0.0.1"], port_names(made()))
    assert metadata_of(behind).labels == {
        "kubernetes.io/service-name": metadata_of(service).name,
        "endpointslice.kubernetes.io/managed-by": "isthmus",
        "isthmus.io/peer": "green-mesh",
    }
    assert [(each.name, each.port) for each in behind.ports or ()] == [("http", 16000), ("grpc", 16001)]
    assert [each.addresses for each in behind.endpoints or ()] == [["10.0.0.2"], ["10.0.0.1"]]


@given(strategies.services())
def test_what_was_imported_is_read_back(message: ServiceMessage) -> None:
    """The peer's message, whatever is in it, and the gateway ports survive in both objects."""
    wanted = made(message)
    held = {ImportKey("green-mesh", message.hostname, port.port): port.gateway_port for port in wanted.ports}
    for obj in (import_service(wanted), import_slice(wanted, ["10.0.0.1"], port_names(wanted))):
        stored = from_server(obj)
        assert import_names(stored) == [("green-mesh", message.hostname)]
        assert remembered(stored) == message
        assert remembered_ports(stored) == held


@pytest.mark.parametrize(
    ("ports", "names"),
    [
        ([("http", 80)], ["http"]),
        ([("", 80)], ["port-80"]),
        ([("http", 80), ("http", 81)], ["http", "port-81"]),
        ([("HTTP", 80), ("a_b", 81), ("x" * 64, 82), ("-", 83)], ["port-80", "port-81", "port-82", "port-83"]),
        ([("port-81", 80), ("", 81)], ["port-80", "port-81"]),
        ([("a", 80), ("b", 80)], ["b"]),
        ([("zero", 0)], []),
    ],
)
def test_ports_get_names_that_kubernetes_takes(ports: Sequence[tuple[str, int]], names: list[str]) -> None:
    """A peer's names of ports are used as far as they are usable; each port has one, and no two the same."""
    assert list(port_names(made(with_ports(*ports))).values()) == names


@given(st.lists(strategies.ports, max_size=6).map(tuple))
def test_any_ports_make_a_service_that_kubernetes_takes(ports: tuple[ServicePort, ...]) -> None:
    """Whatever a peer names, names are labels and unique, and the slice's are those of the Service."""
    wanted = made(msgspec.structs.replace(RATINGS, service_ports=ports))
    service = import_service(wanted)
    names = [each.name for each in (service.spec.ports if service.spec else None) or ()]
    assert len(set(names)) == len(names)
    assert all(is_dns_label(name or "") for name in names)
    assert [each.name for each in import_slice(wanted, [], port_names(wanted)).ports or ()] == names


def test_a_slice_of_a_joined_service_uses_its_names() -> None:
    """Ports are matched by number with those of the Service that is there; others lead nowhere."""
    document = {
        "ports": [
            {"name": "web", "port": 9080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "udp", "port": 9080, "protocol": "UDP"},
        ]
    }
    service = msgspec.convert({"metadata": {"name": "ratings"}, "spec": document}, Service)
    assert names_of_ports(service) == {9080: "web"}
    behind = import_slice(made(is_local=True), ["10.0.0.1"], names_of_ports(service))
    assert [(each.name, each.port) for each in behind.ports or ()] == [("web", 16000)]
    assert len(remembered_ports(behind)) == 2, "the port that leads nowhere stays allocated"


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], ("IPv4", [])),
        (["10.0.0.1"], ("IPv4", ["10.0.0.1"])),
        (["2001:db8::1"], ("IPv6", ["2001:db8::1"])),
        (["2001:db8::1", "10.0.0.1"], ("IPv4", ["10.0.0.1"])),
    ],
    ids=str,
)
def test_a_slice_has_one_family(addresses: list[str], expected: tuple[str, list[str]]) -> None:
    """A slice holds addresses of one family, and each family's slice has a name of its own."""
    assert one_family(addresses) == expected
    four, six = (import_slice(made(), [address], {}) for address in ("10.0.0.1", "2001:db8::1"))
    assert metadata_of(four).name != metadata_of(six).name


def test_slices_of_imports_that_join_one_service_differ() -> None:
    """Two services of a peer, or one of each of two peers, may be called by one name."""
    other = msgspec.structs.replace(RATINGS, hostname="ratings-v2.bookinfo.svc.red-mesh-exports.local")
    slices = [
        import_slice(made(RATINGS, is_local=True), [], {}),
        import_slice(made(other, is_local=True), [], {}),
        import_slice(made(RATINGS, is_local=True, peer="blue-mesh"), [], {}),
        import_slice(made(RATINGS, is_local=True, peer="b" * 253), [], {}),
    ]
    names = {metadata_of(each).name or "" for each in slices}
    assert len(names) == 4
    assert all(len(name) <= 253 for name in names)


def test_whose_a_service_is() -> None:
    """The mesh's users' and another import's Services are joined; our own is kept as it should be."""
    ours = import_service(made(is_local=True))
    assert not is_joined_by(ours, NAME)
    assert is_joined_by(ours, ("blue-mesh", HOSTNAME))
    users = msgspec.convert({"metadata": {"name": "ratings"}}, Service)
    assert is_joined_by(users, NAME)
    metadata_of(ours).annotations = {}
    assert not is_joined_by(ours, NAME), "our label without our annotation: someone has edited it"


def test_objects_of_others_are_nobodys_import() -> None:
    """Neither our annotation without our label nor our label without our annotation makes an import."""
    ours = import_service(made())
    metadata_of(ours).annotations = {}
    assert import_names(ours) == []
    theirs = import_service(made())
    metadata_of(theirs).labels = {"isthmus.io/peer": "green-mesh"}
    assert import_names(theirs) == []
    assert import_names(Service()) == []
    assert remembered_ports(theirs) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"hostname": 1}'])
def test_an_import_that_someone_edited_is_not_remembered(text: str) -> None:
    """An annotation that is no message counts as none."""
    service = import_service(made())
    metadata_of(service).annotations = {"isthmus.io/exported-service": text}
    assert remembered(service) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"80": "x"}'])
def test_gateway_ports_that_someone_edited_are_not_remembered(text: str) -> None:
    """An annotation that holds no ports counts as none."""
    behind = import_slice(made(), [], {})
    (metadata_of(behind).annotations or {})["isthmus.io/gateway-ports"] = text
    assert remembered_ports(behind) == {}


def test_an_object_is_of_the_control_plane_that_made_it() -> None:
    """Of two control planes in one cluster each knows its own objects; those of nobody belong to neither."""
    for ours in (import_service(made()), import_slice(made(), [], {})):
        assert not is_made_by("red-mesh-system", ours)
        labels = dict(ours.metadata.labels or {}) if ours.metadata else {}
        stored = made_by("red-mesh-system", ours)
        assert is_made_by("red-mesh-system", stored)
        assert not is_made_by("blue-mesh-system", stored)
        assert stored.metadata is not None
        assert stored.metadata.labels == {**labels, "isthmus.io/control-plane": "red-mesh-system"}
