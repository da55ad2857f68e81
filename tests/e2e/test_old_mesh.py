"""A mesh of OpenShift Service Mesh 2.3 to 2.5 as the peer of a real one of ours, in both roles.

Green is ours, with its control plane and both gateways; the old mesh is ``tests.e2e.old_mesh``. The sections are those
of docs/protocol.md.
"""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
from tests.e2e import old_mesh
from tests.e2e.conftest import BIN, Federation, Site, eventually
from tests.e2e.old_mesh import OldExporter, OldImporter, OldMesh, connected, exported, read_body, read_head

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
PEER = "old-mesh"
OLD_NAME = "discovery.old-mesh-system.svc.green-mesh.local"
RATINGS = "ratings.bookinfo.svc.old-mesh-exports.local"
EMPTY = 3035108133973235477


@dataclass
class World:
    """Green with the old mesh as its peer, over the gateways that it has for red."""

    green: Site
    old: OldMesh
    exporter: OldExporter

    def address(self) -> str:
        """Where green's ingress gateway is reached from outside."""
        service = self.green.get("service", "ingress-red-mesh")
        found: str = service["status"]["loadBalancer"]["ingress"][0]["ip"]
        return found

    def importer(self, gateway: str = "egress-green-mesh", *, server_name: str = OLD_NAME) -> OldImporter:
        return OldImporter(self.old.client_context(gateway, "istio"), self.address(), server_name=server_name)

    def imports(self) -> dict[str, dict[str, object]]:
        """What green imports, by the name of the service in the old mesh."""
        items = self.green.get("services", "-A", "-l", f"isthmus.io/peer={PEER}")["items"]
        return {each["metadata"]["annotations"]["isthmus.io/exported-name"].split(".")[0]: each for each in items}

    def is_settled(self) -> bool:
        return self.exporter.is_watched() and not self.imports()

    def call(self, name: str, sent: bytes, port: int = 7000) -> bytes:
        """What the service answers to a client in green; empty while it cannot be called."""
        spec = self.imports()[name]["spec"]
        assert isinstance(spec, dict)
        try:
            with socket.create_connection((spec["clusterIP"], port), timeout=5) as connection:
                connection.sendall(sent)
                return connection.recv(65536)
        except OSError:
            return b""


def resources(world: World) -> str:
    """Green's side of the federation with the old mesh."""
    exporter = world.exporter
    gateways = {"ingress": {"name": "ingress-red-mesh"}, "egress": {"name": "egress-red-mesh"}}
    security = {"trustDomain": "old-mesh.local", "clientID": str(old_mesh.account("egress-green-mesh"))[9:]}
    remote = {
        "addresses": [old_mesh.ADDRESS],
        "discoveryPort": exporter.discovery_port,
        "servicePort": exporter.service_port,
    }
    ratings = {"type": "NameSelector", "nameSelector": {"namespace": "bookinfo", "name": "ratings"}}
    more = {"type": "NameSelector", "nameSelector": {"namespace": "bookinfo", "name": "more"}}
    everything = {"type": "NameSelector", "nameSelector": {"name": "*"}}
    items = [
        _item("v1", "ConfigMap", f"{PEER}-ca-root-cert", data={"root-cert.pem": world.old.root}),
        _federation("ServiceMeshPeer", remote=remote, gateways=gateways, security=security),
        _federation("ExportedServiceSet", exportRules=[ratings, more]),
        _federation("ImportedServiceSet", importRules=[everything]),
    ]
    return "\n---\n".join(map(json.dumps, items))


def _federation(kind: str, **spec: object) -> dict[str, object]:
    return _item("federation.maistra.io/v1", kind, PEER, spec=spec)


def _item(version: str, kind: str, name: str, **content: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "green-mesh-system"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


@pytest.fixture(scope="module")
def world(running_demo: Federation) -> Iterator[World]:
    green = running_demo.green
    old = OldMesh.trusting(green.get("configmap", "istio-ca-root-cert")["data"]["root-cert.pem"])
    with OldExporter(old).serving() as exporter:
        built = World(green, old, exporter)
        given = resources(built)
        green.kubectl("apply", "-f", "-", stdin=given)
        try:
            yield built
        finally:
            green.kubectl("delete", "-f", "-", stdin=given)
            eventually(lambda: not built.imports(), what="nothing is left of the old mesh")


@pytest.fixture
def mesh(world: World) -> World:
    """The link stands and nothing is exported by the old mesh; the next list that is fetched is the empty one."""
    world.exporter.export()
    eventually(world.exporter.is_watched, what="green watches the old mesh")
    if world.imports():
        world.exporter.drop()
    eventually(world.is_settled, what="green knows that the old mesh exports nothing")
    return world


def test_the_old_mesh_lists_what_we_export(mesh: World) -> None:
    """§2: exact paths and any SNI; the list has the documented keys and the checksum of its content."""
    status, headers, body = mesh.importer(server_name="any.name.example").get("/v1/services/")
    assert (status, headers["content-type"]) == (200, "application/json")
    ours = json.loads(body)
    assert set(ours) == {"checksum", "services"}
    (service,) = ours["services"]
    assert {key: service[key] for key in service if key not in {"health", "locality"}} == {
        "name": "ratings",
        "namespace": "bookinfo",
        "hostname": RATINGS,
        "servicePorts": [{"name": "http", "port": 9080, "protocol": "HTTP"}],
        "serviceAccounts": ["spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account"],
    }
    listed = mesh.importer().services()
    assert listed.checksum == old_mesh.checksum(*listed.services)


def test_the_old_mesh_follows_what_we_export(mesh: World) -> None:
    """§2: headers at once, one event a change, each with the checksum of the list that is fetched after it."""
    importer = mesh.importer()
    more = ("create", "service", "clusterip", "more", "--tcp=8000:8000", "-n", "bookinfo")
    checksum = 0
    with importer.watch() as watch:
        assert (watch.status, watch.headers["content-type"]) == (200, "application/json")
        assert watch.headers["transfer-encoding"] == "chunked"
        for command, action in ((more, "add"), (("delete", "service", "more", "-n", "bookinfo"), "delete")):
            mesh.green.kubectl(*command)
            event = watch.next_event()
            while event["action"] == "update":  # of its health, which has no share in the checksum
                assert event["checksum"] == checksum
                event = watch.next_event()
            assert event["action"] == action
            assert event["service"]["hostname"] == "more.bookinfo.svc.old-mesh-exports.local"
            checksum = event["checksum"]
            assert checksum == importer.services().checksum


def test_a_check_of_a_link_with_the_old_mesh(mesh: World) -> None:
    """The way is proved step by step though the old mesh does not know /v1/peer; what it does not tell is skipped."""
    kubeconfig = mesh.green.data_dir / mesh.green.name / "kubeconfig"
    command = [str(BIN / "isthmus"), "check", PEER, "-o", "json", "--kubeconfig", str(kubeconfig)]
    with mesh.importer().watch():
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    (link,) = json.loads(ran.stdout)
    results = {step["name"]: step["result"] for step in link["steps"]}
    assert ran.returncode == 3
    assert [name for name, result in results.items() if result != "passed"] == ["exports", "data-path"]
    assert "of another make" in next(step["message"] for step in link["steps"] if step["name"] == "exports")


def test_the_old_mesh_is_told_from_others_by_its_identity(mesh: World) -> None:
    """§1: another identity of its root gets 403, and so it does for services; other paths are not there."""
    assert mesh.importer("default").get("/v1/watch")[0] == 403
    for path in ("/v1/services", "/v1/watch/", "/v1/watch/red-mesh", "/debug/syncz"):
        assert mesh.importer().get(path)[0] == 404
    assert request(mesh, f"outbound_.9080_._.{RATINGS}", gateway="default") == (None, 0)


@pytest.mark.parametrize("server_name", [f"outbound_.9080_._.{RATINGS}", RATINGS])
def test_the_old_mesh_calls_what_we_export(mesh: World, server_name: str) -> None:
    """§3: the service answers, by port and by bare name, and no protocol that would send metadata is agreed on."""
    eventually(lambda: request(mesh, server_name) == (None, 200), what=f"{server_name} answers")


@pytest.mark.parametrize("name", ["reviews.bookinfo", "ratings.default"])
def test_the_old_mesh_cannot_call_anything_else(mesh: World, name: str) -> None:
    """§3: a name that is not exported is closed, and so is one that is exported to another peer."""
    assert request(mesh, f"outbound_.9080_._.{name}.svc.old-mesh-exports.local") == (None, 0)
    assert request(mesh, "outbound_.9080_._.ratings.bookinfo.svc.red-mesh-exports.local") == (None, 0)


def request(mesh: World, server_name: str, *, gateway: str = "egress-green-mesh") -> tuple[str | None, int]:
    """The protocol that was agreed on and the status of one request; 0 if the connection is closed."""
    context = mesh.old.client_context(gateway, "istio-peer-exchange", "istio")
    try:
        with connected(context, mesh.address(), 15443, server_name) as connection:
            connection.sendall(b"GET /ratings/7 HTTP/1.1\r\nhost: ratings\r\nconnection: close\r\n\r\n")
            status, headers, body = read_head(connection)
            assert json.loads(read_body(connection, headers, body))["servedBy"] == "green-mesh"
            return connection.selected_alpn_protocol(), status
    except (ssl.SSLError, OSError, AssertionError):
        return None, 0


def test_the_old_mesh_is_asked_as_its_like_ask(mesh: World) -> None:
    """§1: path, authority, SNI, ALPN, identity and the two headers, on the wire.

    What a gateway tries by itself when something is wrong is another thing, and says so; then the mesh is also asked
    for its view of the link, which the old one does not know (§6).
    """
    calls = [each for each in mesh.exporter.calls if each.path and "user-agent: isthmus-probe" not in each.head]
    assert {each.path for each in calls} - {"/v1/peer"} == {"/v1/watch", "/v1/services/"}
    name = "discovery.green-mesh-system.svc.old-mesh.local"
    for each in calls:
        lines = [line.lower() for line in each.head.split("\r\n")]
        assert lines[0] == f"get {each.path} http/1.1"
        assert f"host: {name}" in lines
        assert f"discovery-service: {name}" in lines
        assert any(line.removeprefix("remote: ").isdecimal() for line in lines if line.startswith("remote: "))
        assert (each.server_name, each.alpn) == (name, "istio")
        assert each.client == "spiffe://green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"


def test_what_the_old_mesh_adds_and_takes_away_is_followed(mesh: World) -> None:
    """§2: events with CR LF and without heartbeat; the service can be called as soon as it is imported."""
    echo = exported("echo")
    mesh.exporter.export(echo)
    mesh.exporter.tell("add", echo, old_mesh.checksum(echo))
    eventually(lambda: "echo" in mesh.imports())
    eventually(lambda: mesh.call("echo", b"hello") == b"hello", what="the service in the old mesh answers")
    call = mesh.exporter.calls[-1]
    assert call.server_name == "outbound_.7000_._.echo.bookinfo.svc.green-mesh-exports.local"
    assert call.alpn == "istio"
    assert call.client == "spiffe://green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account"
    mesh.exporter.export()
    mesh.exporter.tell("delete", echo, EMPTY)
    eventually(lambda: not mesh.imports())


def test_a_wrong_checksum_in_an_event_has_the_list_fetched(mesh: World) -> None:
    """§4: the event is not believed; the list, which tells of another service as well, is."""
    asked = mesh.exporter.lists()
    mesh.exporter.export(exported("echo"), exported("other"))
    mesh.exporter.tell("add", exported("echo"), 12345)
    eventually(lambda: set(mesh.imports()) == {"echo", "other"})
    assert mesh.exporter.lists() > asked


def test_nonsense_never_replaces_what_is_known(mesh: World) -> None:
    """§2: garbage in the watch and lists that cannot be read change nothing, and are logged with the peer's name."""
    echo = exported("echo")
    mesh.exporter.export(echo)
    mesh.exporter.tell("add", echo, old_mesh.checksum(echo))
    eventually(lambda: set(mesh.imports()) == {"echo"})
    for nonsense in (b"<html>upstream connect error</html>", b'{"services": {}}', b'{"checksum": -1}'):
        asked = mesh.exporter.lists()
        mesh.exporter.listed = nonsense
        mesh.exporter.say(b'\x00\xff{"action": "add"\r\n')
        eventually(partial(mesh.exporter.lists_after, asked), what="the list is fetched")
        assert set(mesh.imports()) == {"echo"}
    log = mesh.green.logs("istiod-green-mesh").splitlines()
    assert any("not understood" in line and PEER in line for line in log)
    mesh.exporter.export(echo, exported("other"))
    eventually(lambda: set(mesh.imports()) == {"echo", "other"}, what="a list that can be read is believed again")


def test_checksums_of_2_1_are_believed_when_they_are_repeated(mesh: World) -> None:
    """§4: a list whose checksum is another's is used once the peer says it twice."""
    mesh.exporter.listed = old_mesh.listed(exported("echo"), checksum=4242)
    mesh.exporter.tell("add", exported("echo"), 4242)
    eventually(lambda: set(mesh.imports()) == {"echo"})


def test_a_broken_link_keeps_imports_and_is_made_again(mesh: World) -> None:
    """The old gateway is killed: what was imported stays, and what changed meanwhile comes with the next list."""
    echo = exported("echo")
    mesh.exporter.export(echo)
    mesh.exporter.tell("add", echo, old_mesh.checksum(echo))
    eventually(lambda: set(mesh.imports()) == {"echo"})
    uid = mesh.imports()["echo"]["metadata"]
    mesh.exporter.export(echo, exported("other"))
    mesh.exporter.drop()
    eventually(mesh.exporter.is_watched, within_s=10, what="green watches again")
    eventually(lambda: set(mesh.imports()) == {"echo", "other"}, within_s=10)
    assert mesh.imports()["echo"]["metadata"] == uid
