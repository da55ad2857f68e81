"""What is exported to and imported from one peer, as services, rules and peers change."""

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isthmus.api import ImportedServiceSet
from isthmus.api.exports import ExportRule
from isthmus.api.selectors import ServiceMapping
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.export_table import ExportChange, ExportTable
from isthmus.federation.exports import ExportRules, LocalPort, LocalService
from isthmus.federation.import_table import ImportTable
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.federation.plan import ExportTarget
from isthmus.federation.selection import QualifiedName
from isthmus.identity import SpiffeId

INGRESS = SpiffeId.parse("spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account")
HTTP = LocalPort("http", 9080)


def service(namespace: str, name: str, *ports: LocalPort) -> LocalService:
    return LocalService(QualifiedName(namespace, name), ports or (HTTP,))


def export_rules(*selectors: dict[str, object]) -> ExportRules:
    rules = [{"type": "NameSelector", "nameSelector": selector} for selector in selectors]
    return ExportRules.of(msgspec.convert(rules, tuple[ExportRule, ...]))


def import_rules(*selectors: dict[str, object], is_local: bool = False) -> ImportRules:
    rules = [{"type": "NameSelector", "nameSelector": selector, "importAsLocal": is_local} for selector in selectors]
    metadata = {"name": "green-mesh", "namespace": "red-mesh-system"}
    imports = msgspec.convert({"metadata": metadata, "spec": {"importRules": rules}}, ImportedServiceSet)
    return ImportRules.of(imports, peer="green-mesh", cluster_domain="cluster.local")


def exports(rules: ExportRules, *services: LocalService) -> ExportTable:
    table = ExportTable("red-mesh", system_namespace="green-mesh-system")
    table.configure(rules, [INGRESS], services)
    return table


def test_exported_name_leads_to_the_local_port() -> None:
    """A server name with a port leads to that port; without one, to the first; of another port, nowhere."""
    alias = {"namespace": "shop", "name": "stars"}
    ports = (LocalPort("http", 9080), LocalPort("grpc", 9090), LocalPort("dns", 53, protocol="UDP"))
    table = exports(export_rules({"name": "ratings", "alias": alias}), service("bookinfo", "ratings", *ports))
    hostname = "stars.shop.svc.red-mesh-exports.local"
    assert table.target(f"outbound_.9090_._.{hostname}") == ExportTarget("bookinfo", "ratings", 9090)
    assert table.target(hostname) == ExportTarget("bookinfo", "ratings", 9080)
    assert table.target(f"outbound_.53_._.{hostname}") is None
    assert table.target("ratings.bookinfo.svc.red-mesh-exports.local") is None


def test_of_two_claims_the_first_by_name_wins_and_the_other_takes_over() -> None:
    """Two services that claim one exported name: one wins on every replica; when it goes the other is exported."""
    table = exports(export_rules({"alias": {"namespace": "shop", "name": "one"}}), service("b", "x"), service("a", "x"))
    (mapping,) = table.status()
    assert mapping.local_service.namespace == "a"
    (lost,) = table.losers()
    assert (lost.service.name, lost.winner) == (QualifiedName("b", "x"), QualifiedName("a", "x"))
    table.service_gone(QualifiedName("a", "x"))
    assert table.target("one.shop.svc.red-mesh-exports.local") == ExportTarget("b", "x", 9080)


def test_a_name_that_changes_hands_is_a_change_even_if_the_peer_hears_the_same() -> None:
    """The gateways must look again at where the name leads, though the message is equal."""
    table = exports(export_rules({"alias": {"namespace": "shop", "name": "one"}}), service("a", "x"), service("b", "x"))
    (change,) = table.service_gone(QualifiedName("a", "x"))
    assert change.before == change.after
    assert table.target(change.hostname) == ExportTarget("b", "x", 9080)


def test_a_change_names_every_server_name_it_touches() -> None:
    """When a port changes, the old and the new server names are looked at again."""
    table = exports(export_rules({}), service("bookinfo", "ratings"))
    (change,) = table.service_changed(service("bookinfo", "ratings", LocalPort("http", 80)))
    hostname = "ratings.bookinfo.svc.red-mesh-exports.local"
    assert set(change.server_names) == {hostname, f"outbound_.80_._.{hostname}", f"outbound_.9080_._.{hostname}"}


def test_what_changes_nothing_for_the_peer_is_no_change() -> None:
    """A service that no rule exports, and one that is as it was, make no news."""
    table = exports(export_rules({"name": "ratings"}), service("bookinfo", "ratings"))
    assert table.service_changed(service("bookinfo", "details")) == []
    assert table.service_changed(service("bookinfo", "ratings")) == []


def test_imports_follow_offers_and_rules() -> None:
    """What the peer offers and a rule matches is imported; the rest is told as on offer."""
    table = ImportTable("green-mesh")
    ratings = ServiceMessage(
        name="ratings", namespace="bookinfo", hostname="r", service_ports=(ServicePort("http", 80),)
    )
    details = ServiceMessage(name="details", namespace="bookinfo", hostname="d")
    assert not table.offer("r", ratings)
    assert table.configure(import_rules({"name": "ratings"})) == {"r"}
    assert not table.offer("d", details)
    assert table.imports["r"].ports == (80,)
    assert [(each.exported_name, each.local_service.name) for each in table.status()] == [("d", ""), ("r", "ratings")]
    assert table.offer("r", None)
    assert table.imports == {}


def test_only_other_names_are_renames() -> None:
    """A service whose ports change keeps its name; one that comes, goes or is called otherwise does not."""
    table, message = ImportTable("green-mesh"), ServiceMessage(name="ratings", namespace="bookinfo", hostname="r")
    seen: list[int] = []
    for rules, offered in (
        (import_rules({"name": "ratings"}), message),
        (import_rules({}), msgspec.structs.replace(message, service_ports=(ServicePort("http", 80),))),
        (import_rules({"alias": {"name": "stars"}}), message),
        (import_rules({"alias": {"name": "stars"}}), None),
    ):
        table.configure(rules)
        table.offer("r", offered)
        seen.append(table.renames)
    assert seen == [1, 1, 2, 3]


def test_two_imports_of_one_local_name_clash() -> None:
    """A second import of a name is told of."""
    table = ImportTable("green-mesh")
    table.configure(import_rules({"alias": {"namespace": "n", "name": "same"}}))
    for hostname in ("b", "a"):
        table.offer(hostname, ServiceMessage(name=hostname, namespace="bookinfo", hostname=hostname))
    assert list(table.clashes()) == [("b", "a")]


NAMES = st.sampled_from(["a", "b"])
SELECTORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["", "a", "b"]),
            "alias": st.fixed_dictionaries({"name": NAMES}, optional={"namespace": NAMES}),
        }
    ),
    max_size=2,
)


class Incremental(RuleBasedStateMachine):
    """After any sequence of changes the table tells what a table made anew tells."""

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[QualifiedName, LocalService] = {}
        self.wanted = ExportRules()
        self.table = exports(self.wanted)
        self.told = Catalogue()

    def tell(self, changes: list[ExportChange]) -> None:
        for change in changes:
            assert self.told.get(change.hostname) == change.before
            if change.after is None:
                self.told.remove(change.hostname)
            else:
                self.told.put(change.after)

    @rule(namespace=NAMES, name=NAMES, port=st.integers(1, 2))
    def put(self, namespace: str, name: str, port: int) -> None:
        changed = service(namespace, name, LocalPort("http", port))
        self.services[changed.name] = changed
        self.tell(self.table.service_changed(changed))

    @rule(namespace=NAMES, name=NAMES)
    def remove(self, namespace: str, name: str) -> None:
        self.services.pop(QualifiedName(namespace, name), None)
        self.tell(self.table.service_gone(QualifiedName(namespace, name)))

    @rule(selectors=SELECTORS)
    def configure(self, selectors: list[dict[str, object]]) -> None:
        self.wanted = export_rules(*selectors)
        self.tell(self.table.configure(self.wanted, [INGRESS], self.services.values()))

    @invariant()
    def equals_a_new_table(self) -> None:
        fresh = exports(self.wanted, *self.services.values())
        assert self.told.as_list() == Catalogue(fresh.messages()).as_list()
        assert self.table.status() == fresh.status()
        assert self.table.losers() == fresh.losers()
        assert msgspec.json.decode(self.table.listing.json, type=tuple[ServiceMapping, ...]) == fresh.status()


TestIncremental = Incremental.TestCase


class IncrementalImports(RuleBasedStateMachine):
    """After any sequence of offers and rules the table tells what a table made anew tells."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: dict[str, ServiceMessage] = {}
        self.wanted = ImportRules()
        self.table = ImportTable("green-mesh")

    @rule(namespace=NAMES, name=NAMES, port=st.integers(1, 2))
    def offer(self, namespace: str, name: str, port: int) -> None:
        ports = (ServicePort("http", port),)
        hostname = f"{name}.{namespace}"
        self.offered[hostname] = ServiceMessage(name=name, namespace=namespace, hostname=hostname, service_ports=ports)
        self.table.offer(hostname, self.offered[hostname])

    @rule(namespace=NAMES, name=NAMES)
    def withdraw(self, namespace: str, name: str) -> None:
        self.offered.pop(f"{name}.{namespace}", None)
        self.table.offer(f"{name}.{namespace}", None)

    @rule(selectors=SELECTORS, is_local=st.booleans())
    def configure(self, selectors: list[dict[str, object]], is_local: bool) -> None:
        self.wanted = import_rules(*selectors, is_local=is_local)
        self.table.configure(self.wanted)

    @rule()
    def clear(self) -> None:
        self.offered.clear()
        self.table.clear()

    @invariant()
    def equals_a_new_table(self) -> None:
        fresh = ImportTable("green-mesh")
        fresh.configure(self.wanted)
        for hostname in sorted(self.offered):
            fresh.offer(hostname, self.offered[hostname])
        assert self.table.imports == fresh.imports
        assert self.table.status() == fresh.status()
        assert msgspec.json.decode(self.table.listing.json, type=tuple[ServiceMapping, ...]) == fresh.status()
        assert list(self.table.clashes()) == obvious_clashes(fresh)
        assert list(self.table.hindered()) == list(fresh.hindered())


def obvious_clashes(table: ImportTable) -> list[tuple[str, str]]:
    holder: dict[str, str] = {}
    found = []
    for hostname, imported in sorted(table.imports.items()):
        first = holder.setdefault(imported.called.hostname, hostname)
        if first != hostname:
            found.append((hostname, first))
    return found


TestIncrementalImports = IncrementalImports.TestCase
