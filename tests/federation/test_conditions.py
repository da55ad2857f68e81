"""What administrators are told of their rules. Sections: docs/reference.md, "Conditions"."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from isthmus.api import ImportedServiceSet
from isthmus.api.exports import ExportRule
from isthmus.api.meta import Condition
from isthmus.federation.causes import ACCEPTED
from isthmus.federation.conditions import (
    MAX_MESSAGE_LENGTH,
    accepted,
    export_problems,
    import_problems,
    settled,
)
from isthmus.federation.export_table import ExportTable
from isthmus.federation.exports import ExportRules, LocalPort, LocalService
from isthmus.federation.hindrances import unlike_service, without_gateway_port
from isthmus.federation.import_table import ImportTable
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.federation.names import MAX_SERVER_NAME_BYTES, is_server_name, outbound_sni
from isthmus.federation.selection import Problem, QualifiedName, Scope, rule_problems
from isthmus.identity import TrustDomain

NOW = datetime(2026, 11, 22, 20, 39, 37, 123456, tzinfo=UTC)
Rule = Mapping[str, object]


def by_name(namespace: str = "", name: str = "", /, **alias: str) -> Rule:
    return {"type": "NameSelector", "nameSelector": {"namespace": namespace, "name": name, "alias": alias}}


def by_label(namespace: str = "", /, **labels: str) -> Rule:
    return {"type": "LabelSelector", "labelSelector": {"namespace": namespace, "selector": {"matchLabels": labels}}}


def by_expression(operator: str, *values: str) -> Rule:
    expression = {"key": "app", "operator": operator, "values": values}
    return {"type": "LabelSelector", "labelSelector": {"selector": {"matchExpressions": [expression]}}}


def exports(*rules: Rule, services: tuple[str, ...] = ()) -> ExportTable:
    table = ExportTable("red-mesh", system_namespace="green-mesh-system")
    made = [LocalService(QualifiedName(*each.split("/")), (LocalPort("http", 80),)) for each in services]
    table.configure(ExportRules.of(msgspec.convert(list(rules), tuple[ExportRule, ...])), [], made)
    return table


def imports(*rules: Rule, offered: tuple[str, ...] = ()) -> ImportTable:
    metadata = {"name": "green-mesh", "namespace": "red-mesh-system"}
    made = msgspec.convert({"metadata": metadata, "spec": {"importRules": rules}}, ImportedServiceSet)
    table = ImportTable("green-mesh")
    table.configure(ImportRules.of(made, peer="green-mesh", cluster_domain="cluster.local"))
    for each in offered:
        table.offer(hostname_of(each), message(each))
    return table


def hostname_of(offered: str) -> str:
    namespace, name = offered.split("/")
    return f"{name}.{namespace}.svc.red-mesh-exports.local"


def message(offered: str, hostname: str = "", *, ports: tuple[int, ...] = (9080,)) -> ServiceMessage:
    """What green tells of a service, under its own host name unless it tells another one."""
    namespace, name = offered.split("/")
    service_ports = tuple(ServicePort("http", port, "HTTP") for port in ports)
    return ServiceMessage(name, namespace, hostname or hostname_of(offered), service_ports)


def told_of(table: ImportTable, *messages: ServiceMessage) -> list[Problem]:
    """What is wrong when all that is offered too."""
    for each in messages:
        table.offer(each.hostname, each)
    return import_problems(table)


@pytest.mark.parametrize(
    ("rules", "shadowed"),
    [
        pytest.param([by_name("a", "x"), by_name("a", "x", name="y")], {1: 0}, id="the same twice"),
        pytest.param([by_name("a"), by_name("a", "x")], {1: 0}, id="whole namespace first"),
        pytest.param([by_name("*", "*"), by_name("a", "x"), by_label(app="x")], {1: 0, 2: 0}, id="everything first"),
        pytest.param([by_name("a", "x"), by_name("a")], {}, id="narrow before wide"),
        pytest.param([by_name("", "x"), by_name("a")], {}, id="neither within the other"),
        pytest.param([by_label(app="x"), by_name("a", "x")], {}, id="labels do not cover names"),
        pytest.param([by_label(), by_name("a", "x")], {1: 0}, id="no labels cover everything"),
        pytest.param([by_label(app="x"), by_label(app="x", tier="web")], {1: 0}, id="fewer labels first"),
        pytest.param([by_label(app="x", tier="web"), by_label(app="x")], {}, id="more labels first"),
        pytest.param([by_label("a", app="x"), by_label(app="x")], {}, id="one namespace before all"),
        pytest.param([by_label(app="x"), by_expression("In", "x")], {1: 0}, id="In one value is equality"),
        pytest.param([by_expression("In"), by_name("a", "x")], {}, id="a rule left out shadows nothing"),
    ],
)
def test_shadowed_rules(rules: list[Rule], shadowed: dict[int, int]) -> None:
    """A rule that an earlier one covers is told by both indexes; no other is."""
    found = [problem for problem in export_problems(exports(*rules)) if problem.reason == "ShadowedRule"]
    assert [problem.rule for problem in found] == list(shadowed)
    for problem in found:
        assert f"exportRules[{problem.rule}] never decides: exportRules[{shadowed[problem.rule]}]" in problem.message


_scopes = st.builds(
    Scope,
    st.sampled_from(["", "*", "a", "b"]),
    st.sampled_from(["", "*", "x", "y"]),
    st.frozensets(st.sampled_from(["app In 1", "tier Exists"])),
)


@given(st.lists(st.none() | _scopes, max_size=8))
def test_shadowing_is_what_comparing_all_pairs_finds(scopes: list[Scope | None]) -> None:
    """The index by name finds the same rules as looking at every earlier one."""
    obvious = [
        index
        for index, scope in enumerate(scopes)
        if scope is not None and any(each is not None and each.covers(scope) for each in scopes[:index])
    ]
    found = rule_problems("exportRules", [""] * len(scopes), scopes)
    assert [problem.rule for problem in found] == obvious


def test_a_service_that_loses_its_name_is_told_with_its_rule() -> None:
    """Of two services with one exported name, the loser, the winner and the rule are named."""
    table = exports(by_name("a", "x"), by_name("b", "", namespace="a"), services=("a/x", "b/x"))
    (problem,) = export_problems(table)
    assert (problem.rule, problem.reason) == (1, "NameTaken")
    assert "exportRules[1] does not export b/x: a/x has the name x.a.svc.red-mesh-exports.local" in problem.message


def test_an_export_without_a_tcp_port_is_told() -> None:
    """What is shared and has ports of UDP only is told with its rule, until it has another, or goes."""
    table = exports(by_name("a", "x"), by_name(), services=("a/x", "b/fine"))
    portless = LocalService(QualifiedName("b", "y"), (LocalPort("dns", 53, "UDP"),))
    table.service_changed(portless)
    (problem,) = export_problems(table)
    assert (problem.rule, problem.reason) == (1, "NoTCPPort")
    assert problem.message.startswith("exportRules[1] exports b/y, which no peer can use: it has no TCP port")
    table.service_changed(LocalService(portless.name, (*portless.ports, LocalPort("http", 80))))
    assert export_problems(table) == []
    table.service_changed(portless)
    table.service_gone(portless.name)
    assert export_problems(table) == []


def test_imports_that_claim_one_name_are_told_with_their_rule() -> None:
    """Of two imports with one name here, the one that does not have it is told, and whose it is."""
    table = imports(by_name("a"), by_name("b", "", namespace="a"), offered=("a/x", "b/x"))
    (problem,) = import_problems(table)
    assert (problem.rule, problem.reason) == (1, "NameTaken")
    assert problem.message.startswith("importRules[1] calls x.b.svc.red-mesh-exports.local x.a.svc.green-mesh-imports")


def test_imports_of_two_peers_that_claim_one_name_are_told() -> None:
    """The peer whose import does not have the name is told whose it is; for the other one nothing is wrong."""
    suffix = {**by_name("a"), "domainSuffix": "shared.example"}
    ours, theirs = imports(suffix, offered=("a/x", "a/y")), ImportTable("blue-mesh")
    theirs.configure(ours.rules)
    shared = next(iter(ours.imports.values())).service
    theirs.offer(shared.hostname, shared)
    (problem,) = import_problems(ours, [theirs])
    assert problem.reason == "NameTaken"
    assert "x.a.shared.example, which is the name of x.a.svc.red-mesh-exports.local from peer blue-mesh" in (
        problem.message
    )
    assert import_problems(theirs, [ours]) == []
    assert import_problems(ours) == []


def test_imports_of_two_peers_may_join_one_local_service() -> None:
    """Kubernetes balances over both, which is what importAsLocal is for."""
    rule = {**by_name("a", "x", namespace="shop"), "importAsLocal": True}
    ours, theirs = imports(rule, offered=("a/x",)), ImportTable("blue-mesh")
    theirs.configure(ours.rules)
    shared = ours.imports["x.a.svc.red-mesh-exports.local"].service
    theirs.offer(shared.hostname, shared)
    assert import_problems(ours, [theirs]) == []


@pytest.mark.parametrize(("ports", "is_told"), [({9080, 1}, False), ({80}, True), ((), True)])
def test_a_local_service_without_the_imports_ports_is_told(ports: Collection[int], is_told: bool) -> None:
    """An import that joins a Service with which it has no port in common can never be called."""
    rule = {**by_name("a", "x", namespace="shop"), "importAsLocal": True}
    table = imports(rule, offered=("a/x",))
    imported = table.imports[hostname_of("a/x")]
    table.hinder(hostname_of("a/x"), unlike_service(imported.service, imported.called, ports))
    found = import_problems(table)
    assert [problem.reason for problem in found] == ["LocalServiceDiffers"] * is_told
    assert all("importRules[0]" in problem.message and "shop/x" in problem.message for problem in found)


def test_an_import_that_cannot_be_asked_for_is_told() -> None:
    """A peer may tell a name that is too long to be asked for: which one, on which rule, and what to do, is told."""
    table = imports(by_name("a"), offered=("a/x",))
    longest = "x" * (MAX_SERVER_NAME_BYTES - len(outbound_sni("", 80)))
    (problem,) = told_of(table, message("a/y", longest, ports=(80, 9080)))
    assert (problem.rule, problem.reason) == (0, "InvalidServerName")
    assert problem.message.startswith("importRules[0] imports 'xxx")
    assert "cannot be called on 1 of its 2 ports: 'outbound_.9080_._.xxx" in problem.message
    assert problem.message.endswith("have the peer export it under another name")
    table.clear()
    assert import_problems(table) == []


def test_what_is_told_of_a_name_goes_with_it() -> None:
    """A service that is no longer offered, or of which no rule imports anything, has nothing wrong."""
    table = imports(by_name("b"), by_name("a"))
    (problem,) = told_of(table, message("a/y", "é.a.svc.red-mesh-exports.local"))
    assert (problem.rule, problem.reason) == (1, "InvalidServerName")
    assert "'outbound_.9080_._.\\xe9.a.svc" in problem.message
    table.configure(ImportRules())
    assert import_problems(table) == []


@pytest.mark.parametrize("offered", ["a/" + "x" * 64, "a/x..y", "a/Ratings", "a/", "a/é", "x.y/x", "../secrets"])
def test_an_import_whose_name_kubernetes_does_not_take_is_told(offered: str) -> None:
    """What can be no Service for its name is told, with the part that is wrong; an alias may mend it."""
    table = imports(by_name(), offered=("a/fine",))
    (problem,) = told_of(table, message(offered, "odd.a.svc.red-mesh-exports.local"))
    assert (problem.rule, problem.reason) == (0, "InvalidServiceName")
    assert any(f"gets no Service: {part!a} cannot be part of a name" in problem.message for part in offered.split("/"))
    rules = imports(by_name(name="y", namespace="b")).rules
    table.offer(hostname_of("a/fine"), None)
    table.configure(rules)
    assert import_problems(table) == []


@pytest.mark.parametrize("ports", [(), (0,)])
def test_an_import_without_a_port_is_told(ports: tuple[int, ...]) -> None:
    """What has no TCP port gets no Service; with one, nothing is wrong."""
    table = imports(by_name(), offered=("a/fine",))
    (problem,) = told_of(table, message("a/x", ports=ports))
    assert problem.reason == "NoTCPPort"
    assert problem.message.startswith("importRules[0] imports 'x.a.svc.red-mesh-exports.local', which gets no Service")
    assert told_of(table, message("a/x", ports=(0, 80))) == []


def test_an_import_whose_name_dns_does_not_take_is_told() -> None:
    """A name that is too long for DNS has an address that nobody finds; as a local Service the cluster names it."""
    rule = {**by_name(), "domainSuffix": ".".join(["x" * 60] * 4)}
    found = told_of(imports(rule), message("aaaa/xxxx"), message("aaaa/xxxxx"))
    assert [each.reason for each in found] == ["InvalidHostname"]
    assert "expected at most 253 characters, not 'xxxxx.aaaa.xxx" in found[0].message
    assert found[0].message.endswith("… (254 characters); give it a shorter alias or domainSuffix")
    local = {**rule, "importAsLocal": True, "nameSelector": {"alias": {"namespace": "shop"}}}
    assert told_of(imports(local), message("aaaa/xxxxx")) == []


@pytest.mark.parametrize(
    ("accounts", "named"),
    [
        ((), "names nobody"),
        (("spiffe://blue-mesh.local/ns/a/sa/b", "nonsense"), "names 'spiffe://blue-mesh.local/ns/a/sa/b' and 1 more"),
    ],
    ids=["nobody", "others"],
)
def test_an_import_that_nobody_may_answer_for_is_told(accounts: tuple[str, ...], named: str) -> None:
    """Only identities of the peer's trust domain count: without one, whom it names is told, until it is another."""
    table, service = imports(by_name()), replace(message("a/x"), service_accounts=accounts)
    green = TrustDomain("green-mesh.local")
    table.configure(table.rules, trust_domain=green)
    (problem,) = told_of(table, service)
    assert problem.reason == "NoTrustedServer"
    assert f"expected an identity of green-mesh.local, and the peer {named}; correct" in problem.message
    assert told_of(table, replace(service, service_accounts=(*accounts, f"spiffe://{green}/ns/a/sa/b"))) == []
    table.configure(table.rules, trust_domain=TrustDomain("other.local"))
    assert [each.reason for each in import_problems(table)] == ["NoTrustedServer"]


def test_what_is_found_outside_is_told_while_it_lasts() -> None:
    """What keeps an import from being carried out follows its rule, comes after its own faults, and goes with it."""
    table, name = imports(by_name("a"), offered=("a/x",)), hostname_of("a/x")
    assert table.hinder(name, without_gateway_port())
    assert not table.hinder(name, without_gateway_port())
    table.configure(imports(by_name("b"), by_name("a")).rules)
    (problem,) = told_of(table)
    assert (problem.rule, problem.reason) == (1, "NoGatewayPort")
    (own,) = told_of(table, message("a/x", ports=()))
    assert own.reason == "NoTCPPort"
    table.offer(name, None)
    assert told_of(table) == []
    assert [each.reason for each in told_of(table, message("a/x"))] == ["NoGatewayPort"]
    assert table.hinder(name, None)
    assert told_of(table) == []


def test_imports_that_are_hindered_are_told_in_one_order() -> None:
    """Whichever comes first, the message is the same: a status is not written anew for that."""
    messages = [message(f"a/x{number}", ports=()) for number in range(20)]
    assert told_of(imports(by_name()), *messages) == told_of(imports(by_name()), *reversed(messages))


def test_names_that_are_exported_can_be_asked_for() -> None:
    """However long names and alias are, what a peer is told of fits into a server name."""
    longest = "x" * 63
    table = ExportTable(longest, system_namespace="green-mesh-system")
    rule = by_name("", "", name=longest, namespace=longest)
    rules = ExportRules.of(msgspec.convert([rule], tuple[ExportRule, ...]))
    table.configure(rules, [], [LocalService(QualifiedName("a", "x"), (LocalPort("http", 80),))])
    (exported,) = table.messages()
    assert is_server_name(outbound_sni(exported.hostname, 65535))


def test_a_rule_that_cannot_be_used_is_told() -> None:
    """A bad rule has its index, and what to do, in the message."""
    (problem,) = import_problems(imports({**by_name("a"), "importAsLocal": True}))
    assert problem.message.startswith("importRules[0] is not used: importAsLocal needs nameSelector.alias.namespace")


def test_without_problems_all_is_accepted() -> None:
    """Nothing wrong: the condition holds."""
    assert accepted(()).status == "True"


def test_a_message_is_bounded() -> None:
    """However many rules are wrong, the message has an end, and says how many more there are."""
    found = accepted([Problem(index, "InvalidRule", "x" * 1000) for index in range(500)])
    assert (found.status, found.reason) == ("False", "InvalidRule")
    assert len(found.message) <= MAX_MESSAGE_LENGTH
    assert found.message.endswith("; and 490 more")


def test_the_time_tells_when_the_status_changed() -> None:
    """Another message leaves the time of transition, another status moves it; other conditions stay."""
    other = Condition(type="Other", status="True")
    first = settled([other], [accepted(())], generation=1, now=NOW)
    later = NOW + timedelta(minutes=1)
    same = settled(first, [accepted(())], generation=2, now=later)
    refused = settled(same, [accepted([Problem(0, "InvalidRule", "no")])], generation=3, now=later)
    assert [each.last_transition_time for each in same] == [NOW.replace(microsecond=0), None]
    assert same[0].observed_generation == 2
    assert [each.type for each in refused] == [ACCEPTED, "Other"]
    assert refused[0].last_transition_time == later.replace(microsecond=0)
