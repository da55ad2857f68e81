"""What gateways are served: each table, after whatever happened, as one that is made anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from tests.envoy import plans
from tests.pilot.envoy_client import EnvoyClient

from isthmus.api.exports import ExportRule
from isthmus.api.selectors import NameSelector
from isthmus.envoy import cluster, message
from isthmus.envoy.egress import PORTS_WITH_CHAINS, block_name
from isthmus.federation.export_table import ExportChange, ExportTable
from isthmus.federation.exports import ExportRules, LocalPort, LocalService
from isthmus.federation.names import exported_hostname, outbound_sni
from isthmus.federation.peer import Mesh, PeerConfig
from isthmus.federation.plan import Endpoint, ExportTarget, ImportedPort
from isthmus.federation.selection import QualifiedName
from isthmus.identity import SpiffeId, TrustDomain
from isthmus.pilot.gateways import Gateways
from isthmus.xds import Rejection

MESH = Mesh("green-mesh", "green-mesh-system", plans.bundle("green"))
HOST = "istiod-green-mesh.green-mesh-system.svc.cluster.local"
EVERYTHING = ExportRules.of([ExportRule(type="NameSelector", name_selector=NameSelector())])


def peer(mesh: str, *, ingress: str = "in", egress: str = "out", address: str = "192.0.2.1") -> PeerConfig:
    """A peer that can be used."""
    client = plans.account(mesh, "egress-green-mesh-service-account")
    return PeerConfig(f"{mesh}-mesh", ingress, egress, client, plans.remote(mesh, address))


def imported(gateway_port: int, mesh: str, service_port: int = 9080) -> ImportedPort:
    """A port of a service of a peer."""
    servers = (plans.account(mesh, "ingress-green-mesh-service-account"),)
    hostname = "ratings.bookinfo.svc.green-mesh-exports.local"
    return ImportedPort(gateway_port, f"{mesh}-mesh", hostname, service_port, servers)


def identity(gateway: str) -> str:
    """What the certificate of a gateway's pod proves."""
    return str(MESH.gateway_account(gateway))


@dataclass
class World:
    """What gateways are served from, beside their plan: exports by peer, and endpoints."""

    exports: dict[str, ExportTable] = field(default_factory=dict)
    endpoints: dict[str, list[Endpoint]] = field(default_factory=dict)

    def gateways(self) -> Gateways:
        """Gateways that nobody has told anything."""
        return Gateways(MESH, HOST, exports=self.exports, endpoints=self.endpoints_of)

    def endpoints_of(self, key: str) -> list[Endpoint]:
        """The endpoints of an export target."""
        return self.endpoints.get(ExportTarget.parse(key).key, [])

    def export(self, mesh: str) -> ExportTable:
        """Export everything to a peer."""
        table = self.exports.setdefault(f"{mesh}-mesh", ExportTable(f"{mesh}-mesh", system_namespace=MESH.namespace))
        table.configure(EVERYTHING, [MESH.gateway_account("in")], ())
        return table


def service(name: str, *ports: int) -> LocalService:
    """A Service of namespace bookinfo."""
    return LocalService(QualifiedName("bookinfo", name), tuple(LocalPort("http", port) for port in ports))


def server_name(name: str, port: int | None, mesh: str = "red") -> str:
    """What a peer asks for; without a port by the bare name."""
    hostname = exported_hostname(name, "bookinfo", f"{mesh}-mesh")
    return hostname if port is None else outbound_sni(hostname, port)


def connect(gateways: Gateways, gateway: str, *names: str, address: str = "127.0.0.7") -> EnvoyClient:
    """A pod of a gateway, which asks for these clusters on demand."""
    _, table = gateways.admit([identity(gateway)], {"POD_IP": address})
    return EnvoyClient(table, clusters=names)


def test_what_is_exported_is_served_when_it_is_asked_for() -> None:
    """A server name of an export gets a cluster, and the cluster's endpoints are those of the Service."""
    world = World()
    world.export("red").service_changed(service("ratings", 9080))
    world.endpoints["bookinfo/ratings/9080"] = [Endpoint("10.0.0.1", 8080)]
    gateways = world.gateways()
    gateways.plan([peer("red")])
    _, table = gateways.admit([identity("in")], {"POD_IP": "127.0.0.7"})
    wanted = "export|" + server_name("ratings", 9080)
    envoy = EnvoyClient(table, clusters=[wanted], endpoints=["bookinfo/ratings/9080"])
    assert wanted in envoy.synced()[message.CLUSTER]
    assert "bookinfo/ratings/9080" in envoy.held[message.ENDPOINTS]


@pytest.mark.parametrize(
    "name",
    [
        server_name("details", 9080),
        server_name("ratings", 9081),
        server_name("ratings", 9080, "blue"),
        server_name("ratings", 9080).replace("9080", "09080"),
        server_name("ratings", 9080).upper(),
        "ratings.bookinfo.svc.cluster.local",
        "outbound_.9080_._.ratings.bookinfo.svc.cluster.local",
        "outbound_.99999_._.ratings.bookinfo.svc.red-mesh-exports.local",
        ".svc.red-mesh-exports.local",
        "pilot",
        "",
    ],
)
def test_nothing_else_is_served(name: str) -> None:
    """A name that is not exported, or not spelled as exported, has no cluster."""
    world = World()
    world.export("red").service_changed(service("ratings", 9080))
    world.export("blue").service_changed(service("ratings", 9080))
    gateways = world.gateways()
    gateways.plan([peer("red")])
    envoy = connect(gateways, "in", f"export|{name}")
    assert list(envoy.synced()[message.CLUSTER]) == ["pilot"]


def test_a_pod_that_is_there_before_any_peer_is_served_when_one_comes() -> None:
    """A gateway that connects first gets nothing, then everything, and nothing again when its peer is gone."""
    gateways = World().gateways()
    ingress, egress = connect(gateways, "in"), connect(gateways, "out", "import|16000")
    assert not any((*ingress.synced().values(), *egress.synced().values()))
    gateways.plan([peer("red")])
    gateways.egress("out").put_import(imported(16000, "red"))
    assert set(ingress.synced()[message.LISTENER]) == {"discovery", "services"}
    assert set(egress.synced()[message.LISTENER]) == {"discovery", block_name(16000)}
    discovery = cluster.discovery_cluster_name(peer("red").remote)
    assert set(egress.held[message.CLUSTER]) == {discovery, "import|16000"}
    gateways.plan([])
    gateways.egress("out").remove_import(16000)
    assert not any((*ingress.synced().values(), *egress.synced().values()))


def test_an_export_that_was_withdrawn_while_its_peer_was_out_comes_back() -> None:
    """A name that had no cluster because the peer was not admitted has one when the peer is, without being asked."""
    world = World()
    exports = world.export("red")
    gateways = world.gateways()
    gateways.plan([peer("red")])
    wanted = "export|" + server_name("ratings", None)
    envoy = connect(gateways, "in", wanted)
    gateways.plan([])
    (change,) = exports.service_changed(service("ratings", 9080))
    tell(gateways, [change])
    assert wanted not in envoy.synced()[message.CLUSTER]
    gateways.plan([peer("red")])
    assert wanted in envoy.synced()[message.CLUSTER]


def test_a_gateway_takes_enrolments_while_somebody_is_invited() -> None:
    """Its first peer's or beside others; an egress gateway of some peer goes on as one and takes none."""
    gateways = World().gateways()
    ingress, egress = connect(gateways, "in"), connect(gateways, "out")
    gateways.invite(frozenset({"in", "out"}))
    assert set(ingress.synced()[message.LISTENER]) == {"discovery"}
    gateways.plan([peer("red")])
    assert set(ingress.synced()[message.LISTENER]) == {"discovery", "services"}
    before = ingress.held[message.LISTENER]["discovery"]
    served = set(egress.synced()[message.LISTENER])
    gateways.invite(frozenset())
    assert ingress.synced()[message.LISTENER]["discovery"] != before
    assert set(egress.synced()[message.LISTENER]) == served


def test_a_gateway_cannot_be_both() -> None:
    """A gateway that some peer calls its ingress is no egress; once that peer is gone, its imports are served."""
    gateways = World().gateways()
    envoy = connect(gateways, "both")
    gateways.egress("both").put_import(imported(16000, "red"))
    gateways.plan([peer("red", egress="both"), peer("blue", ingress="both")])
    assert set(envoy.synced()[message.LISTENER]) == {"discovery", "services"}
    gateways.egress("both").put_import(imported(16064, "red"))
    assert block_name(16064) not in envoy.synced()[message.LISTENER]
    gateways.plan([peer("red", egress="both")])
    assert set(envoy.synced()[message.LISTENER]) == {"discovery", block_name(16000), block_name(16064)}


def test_imports_share_listeners_by_blocks() -> None:
    """A listener comes with the first import of its block of ports, is not sent again, and goes with the last."""
    gateways = World().gateways()
    first, second = OF_MANY, OF_MANY + 1
    envoy, egress = connect(gateways, "out", f"import|{second}"), gateways.egress("out")
    gateways.plan([peer("red")])
    egress.put_import(imported(first, "red"))
    listener = envoy.synced()[message.LISTENER][block_name(first)]
    assert f"import|{second}" not in envoy.held[message.CLUSTER]
    egress.put_import(imported(second, "red"))
    egress.remove_import(first)
    assert envoy.synced()[message.LISTENER][block_name(first)] is listener
    assert f"import|{second}" in envoy.held[message.CLUSTER]
    egress.remove_import(second)
    assert set(envoy.synced()[message.LISTENER]) == {"discovery"}


def test_the_listener_of_the_first_imports_tells_when_a_right_is_gone() -> None:
    """Each import of the first blocks, and each loss of trust in its peer, makes their listener another; the ports of
    a service or who may answer for it do not."""
    gateways = World().gateways()
    envoy, egress = connect(gateways, "out"), gateways.egress("out")
    gateways.plan([peer("red")])
    seen = []
    one = imported(16000, "red")
    for port in (one, replace(one, servers=()), replace(one, trusted_as="2"), imported(16001, "red")):
        egress.put_import(port)
        seen.append(envoy.synced()[message.LISTENER][block_name(16000)])
    egress.remove_import(16001)
    seen.append(envoy.synced()[message.LISTENER][block_name(16000)])
    assert [seen.index(each) for each in seen] == [0, 0, 2, 3, 2]


def test_tables_of_pods_that_are_gone_are_forgotten() -> None:
    """Pods that come and go, each at an address of its own, leave nothing behind."""
    gateways = World().gateways()
    for number in range(1, 5):
        name, table = gateways.admit([identity("out")], {"POD_IP": f"127.0.0.{number}"})
        gateways.connected(name)
        EnvoyClient(table).leave()
        gateways.disconnected(name, number)
    assert list(gateways._pods["out"].tables()) == []


def test_a_table_is_kept_while_one_of_two_streams_stands() -> None:
    """Of two streams that share a table one may end, and the other is still told of changes."""
    gateways = World().gateways()
    name, table = gateways.admit([identity("in")], {"POD_IP": "127.0.0.1"})
    first, second = EnvoyClient(table), EnvoyClient(gateways.admit([identity("in")], {"POD_IP": "127.0.0.1"})[1])
    first.leave()
    gateways.disconnected(name, first)
    gateways.plan([peer("red")])
    assert set(second.synced()[message.LISTENER]) == {"discovery", "services"}


def test_a_pod_that_rejects_is_told_of_whatever_others_do() -> None:
    """Of two pods of a gateway one rejects its configuration: it is told until that one takes it, or goes."""
    gateways, told = World().gateways(), list[str]()
    gateways.subscribe(told.append)
    for address in ("127.0.0.1", "127.0.0.2"):
        name, _ = gateways.admit([identity("out")], {"POD_IP": address})
        gateways.connected(name)
    gateways.rejected("out", 1, Rejection(message.CLUSTER, ("a",), "no such field"))
    gateways.rejected("out", 2, Rejection(message.LISTENER, ("b",), "no such address"))
    gateways.accepted("out", 2, message.CLUSTER)
    gateways.accepted("out", 2, message.LISTENER)
    assert (gateways.rejection("out"), gateways.rejection("in")) == ("no such field", "")
    gateways.accepted("out", 1, message.CLUSTER)
    assert gateways.rejection("out") == ""
    gateways.rejected("out", 2, Rejection(message.CLUSTER, ("a",), "no such field"))
    gateways.disconnected("out", 2)
    assert gateways.rejection("out") == ""
    assert told == ["out"] * 8


@pytest.mark.parametrize(
    "identities",
    [
        [],
        [""],
        ["spiffe://green.local/ns/green-mesh-system/sa/default"],
        ["spiffe://green.local/ns/green-mesh-system/sa/-service-account"],
        ["spiffe://green.local/ns/bookinfo/sa/in-service-account"],
        ["spiffe://red.local/ns/green-mesh-system/sa/in-service-account"],
        ["spiffe://green.local/ns/green-mesh-system/sa/x/in-service-account"],
        ["spiffe://green.local/ns/green-mesh-system/user/in-service-account"],
        ["in-service-account"],
        ["istiod-green-mesh.green-mesh-system.svc"],
    ],
    ids=str,
)
def test_only_gateways_of_the_mesh_are_admitted(identities: Sequence[str]) -> None:
    """An identity that is no gateway's, of another namespace or of another trust domain is refused."""
    with pytest.raises(PermissionError, match="no gateway of green-mesh"):
        World().gateways().admit(identities, {"POD_IP": "127.0.0.1"})


def test_a_gateway_of_an_alias_is_admitted() -> None:
    """A certificate of another trust domain of the mesh proves the same gateway, and no trust domain else does."""
    mesh = replace(MESH, aliases=(TrustDomain("old.local"),))
    gateways = Gateways(mesh, HOST, exports={}, endpoints=lambda _: [])
    former = "spiffe://old.local/ns/green-mesh-system/sa/in-service-account"
    assert gateways.admit([former], {"POD_IP": "127.0.0.1"})[0] == "in"
    with pytest.raises(PermissionError):
        gateways.admit([former.replace("old", "older")], {"POD_IP": "127.0.0.1"})


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:80", "10.0.0.256"])
def test_a_gateway_has_to_say_where_it_listens(address: str) -> None:
    """Without an IP address there is nothing that the listeners could be bound to."""
    with pytest.raises(PermissionError, match="POD_IP"):
        World().gateways().admit([identity("in")], {"POD_IP": address} if address else {})


def test_what_a_node_says_of_itself_does_not_make_it_another() -> None:
    """The certificate alone decides which gateway it is."""
    name, _ = (
        World()
        .gateways()
        .admit(["unreadable", identity("in")], {"POD_IP": "2001:db8::1", "GATEWAY": "out", "ROLE": "egress"})
    )
    assert name == "in"


def tell(gateways: Gateways, changes: Sequence[ExportChange]) -> None:
    """Tell gateways of changed exports, as the control plane does."""
    for ingress in gateways.ingresses():
        ingress.exports_changed([name for change in changes for name in change.server_names])


MESHES = st.sampled_from(["red", "blue"])
GATEWAYS = ("in", "out", "both")
SERVICES = st.sampled_from(["ratings", "reviews"])
PORTS = (9080, 9081)
OF_MANY = 16000 + PORTS_WITH_CHAINS
"""The first gateway port without a filter chain of its own."""
GATEWAY_PORTS = (16000, OF_MANY)
ON_DEMAND = [
    *(f"import|{port}" for port in GATEWAY_PORTS),
    *(
        cluster.EXPORT_PREFIX + server_name(name, port, mesh)
        for name in ("ratings", "reviews")
        for port in (None, *PORTS)
        for mesh in ("red", "blue")
    ),
]
KEYS = [f"bookinfo/{name}/{port}" for name in ("ratings", "reviews") for port in PORTS]


Pod = tuple[str, str, EnvoyClient]
"""Gateway, address and the Envoy of a pod."""


class Incremental(RuleBasedStateMachine):
    """After any sequence of plans, imports, exports and endpoints, pods hold what a new control plane serves."""

    pods: Bundle[Pod] = Bundle("pods")

    @initialize(target=pods, is_in_use=st.booleans())
    def start(self, is_in_use: bool) -> MultipleResults[Pod]:
        """Nothing is known yet, or much is, so that few steps are needed to take something away."""
        self.world = World()
        self.gateways = self.world.gateways()
        self.peers: dict[str, PeerConfig] = {}
        self.services: dict[QualifiedName, LocalService] = {}
        self.imports: dict[str, dict[int, ImportedPort]] = {gateway: {} for gateway in GATEWAYS}
        self.connected: list[Pod] = []
        self.inviting: frozenset[str] = frozenset()
        if is_in_use:
            self._use()
        return multiple(*(self._connected(gateway, "127.0.0.1") for gateway in GATEWAYS))

    def _use(self) -> None:
        for mesh in ("red", "blue"):
            self.export(mesh)
            self.put_peer(mesh, "in", "out", host=False)
        for name in ("ratings", "reviews"):
            self.put_service(name, set(PORTS))
        for port in GATEWAY_PORTS:
            self.put_import("out", port, "red", 9080)

    def _connected(self, gateway: str, address: str) -> Pod:
        name, table = self.gateways.admit([identity(gateway)], {"POD_IP": address})
        self.gateways.connected(name)
        pod = (gateway, address, EnvoyClient(table, clusters=ON_DEMAND, endpoints=KEYS))
        self.connected.append(pod)
        return pod

    @rule(target=pods, gateway=st.sampled_from(GATEWAYS), address=st.sampled_from(["127.0.0.1", "127.0.0.2"]))
    def connect(self, gateway: str, address: str) -> Pod:
        """A pod connects."""
        return self._connected(gateway, address)

    @rule(pod=consumes(pods))
    def disconnect(self, pod: Pod) -> None:
        """A pod goes."""
        self.connected.remove(pod)
        pod[2].leave()
        self.gateways.disconnected(pod[0], pod[2])

    @rule(
        mesh=MESHES,
        ingress=st.sampled_from(["in", "both"]),
        egress=st.sampled_from(["out", "both"]),
        host=st.booleans(),
    )
    def put_peer(self, mesh: str, ingress: str, egress: str, host: bool) -> None:
        """A peer is new, or its resource another."""
        address = "192.0.2.1" if host else "ingress.example.com"
        self.peers[mesh] = peer(mesh, ingress=ingress, egress=egress, address=address)
        self.plan()

    @rule(mesh=MESHES)
    def change_client(self, mesh: str) -> None:
        """The clientID of a peer is another."""
        if mesh in self.peers:
            other = SpiffeId.parse(f"spiffe://{mesh}.local/ns/{mesh}-mesh-system/sa/other")
            self.peers[mesh] = replace(self.peers[mesh], client=other)
            self.plan()

    @rule(mesh=MESHES)
    def remove_peer(self, mesh: str) -> None:
        """A peer is deleted, or cannot be used; its exports stay for the while."""
        self.peers.pop(mesh, None)
        self.plan()

    @rule(gateways=st.frozensets(st.sampled_from(GATEWAYS), max_size=2))
    def invite(self, gateways: frozenset[str]) -> None:
        """Enrolments are taken at these gateways now, as far as they are nobody's egress."""
        self.inviting = gateways
        self.gateways.invite(gateways)

    @rule(mesh=MESHES)
    def export(self, mesh: str) -> None:
        """All services are exported to a peer."""
        table = self.world.export(mesh)
        tell(self.gateways, table.configure(EVERYTHING, [MESH.gateway_account("in")], self.services.values()))

    @rule(mesh=MESHES)
    def withdraw(self, mesh: str) -> None:
        """Nothing is exported to a peer any more."""
        if f"{mesh}-mesh" in self.world.exports:
            tell(self.gateways, self.world.exports[f"{mesh}-mesh"].configure(ExportRules(), [], ()))
            del self.world.exports[f"{mesh}-mesh"]

    @rule(name=SERVICES, ports=st.sets(st.sampled_from(PORTS), min_size=1))
    def put_service(self, name: str, ports: set[int]) -> None:
        """A Service is new, or has other ports."""
        changed = service(name, *sorted(ports))
        self.services[changed.name] = changed
        for table in self.world.exports.values():
            tell(self.gateways, table.service_changed(changed))

    @rule(name=SERVICES)
    def remove_service(self, name: str) -> None:
        """A Service is deleted."""
        gone = QualifiedName("bookinfo", name)
        self.services.pop(gone, None)
        for table in self.world.exports.values():
            tell(self.gateways, table.service_gone(gone))

    @rule(key=st.sampled_from(KEYS), hosts=st.sets(st.sampled_from(["10.0.0.1", "2001:db8::1"])))
    def move_endpoints(self, key: str, hosts: set[str]) -> None:
        """The pods of a Service are others."""
        self.world.endpoints[key] = [Endpoint(host, 8080) for host in sorted(hosts)]
        for ingress in self.gateways.ingresses():
            ingress.endpoints_changed([key])

    @rule(
        gateway=st.sampled_from(["out", "both"]),
        port=st.sampled_from(GATEWAY_PORTS),
        mesh=MESHES,
        service_port=st.sampled_from(PORTS),
    )
    def put_import(self, gateway: str, port: int, mesh: str, service_port: int) -> None:
        """A service is imported, or another by the same gateway port."""
        self.imports[gateway][port] = imported(port, mesh, service_port)
        self.gateways.egress(gateway).put_import(self.imports[gateway][port])

    @rule(gateway=st.sampled_from(["out", "both"]), port=st.sampled_from(GATEWAY_PORTS))
    def remove_import(self, gateway: str, port: int) -> None:
        """A service is imported no longer."""
        self.imports[gateway].pop(port, None)
        self.gateways.egress(gateway).remove_import(port)

    def plan(self) -> None:
        """Serve the peers."""
        self.gateways.plan([self.peers[mesh] for mesh in sorted(self.peers)])

    @invariant()
    def pods_hold_what_a_new_control_plane_serves(self) -> None:
        """Nothing is lost and nothing is left over."""
        fresh = self.world.gateways()
        for gateway, ports in self.imports.items():
            for port in ports.values():
                fresh.egress(gateway).put_import(port)
        fresh.invite(self.inviting)
        fresh.plan([self.peers[mesh] for mesh in sorted(self.peers)])
        for gateway, address, envoy in self.connected:
            _, table = fresh.admit([identity(gateway)], {"POD_IP": address})
            assert envoy.synced() == EnvoyClient(table, clusters=ON_DEMAND, endpoints=KEYS).synced()


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=100, stateful_step_count=15)
