"""Export rules. Sections: docs/reference.md §4."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.api.exports import ExportRule
from isthmus.api.selectors import NameSelector
from isthmus.federation.exports import ExportRules, LocalPort, LocalService, export_message, port_protocol
from isthmus.federation.selection import QualifiedName, selects
from isthmus.identity import SpiffeId

INGRESS = SpiffeId.parse("spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account")


def service(name: str = "ratings", namespace: str = "bookinfo", **more: object) -> LocalService:
    return LocalService(QualifiedName(namespace, name), (LocalPort("http", 9080),), **more)  # type: ignore[arg-type]


def rules(*yaml: Mapping[str, object]) -> ExportRules:
    return ExportRules.of(msgspec.convert(list(yaml), tuple[ExportRule, ...]))


def by_name(namespace: str = "", name: str = "", *, alias: dict[str, str] | None = None) -> dict[str, object]:
    selector: dict[str, object] = {"namespace": namespace, "name": name}
    return {"type": "NameSelector", "nameSelector": {**selector, "alias": alias} if alias else selector}


@pytest.mark.parametrize(
    ("namespace", "name", "alias", "exported"),
    [
        pytest.param("bookinfo", "ratings", {}, "bookinfo/ratings", id="exact"),
        pytest.param("", "", {}, "bookinfo/ratings", id="empty matches anything"),
        pytest.param("*", "*", {}, "bookinfo/ratings", id="star matches anything"),
        pytest.param("bookinfo", "*", {}, "bookinfo/ratings", id="all of a namespace"),
        pytest.param("*", "ratings", {}, "bookinfo/ratings", id="a name anywhere"),
        pytest.param("other", "ratings", {}, None, id="other namespace"),
        pytest.param("bookinfo", "details", {}, None, id="other name"),
        pytest.param("bookinfo", "", {"namespace": "shop"}, "shop/ratings", id="alias of the namespace"),
        pytest.param("bookinfo", "", {"name": "stars"}, "bookinfo/stars", id="alias of the name"),
        pytest.param("bookinfo", "", {"namespace": "shop", "name": "stars"}, "shop/stars", id="alias of both"),
        pytest.param("*", "*", {"namespace": "*", "name": "*"}, "bookinfo/ratings", id="stars are no alias"),
    ],
)
def test_name_rules(namespace: str, name: str, alias: dict[str, str], exported: str | None) -> None:
    """A name rule matches whole values, and an alias replaces what it gives."""
    found = rules(by_name(namespace, name, alias=alias)).exported_name(service())
    assert (str(found) if found else None) == exported


def test_a_star_is_a_wildcard_for_whole_values_only() -> None:
    """``rat*`` does not match ``ratings``, even where the schema let it through."""
    assert not selects(NameSelector(name="rat*"), QualifiedName("bookinfo", "ratings"))


def test_first_match_wins() -> None:
    """The first rule that matches decides the name."""
    chosen = rules(
        by_name("bookinfo", "ratings", alias={"name": "first"}), by_name("bookinfo", alias={"name": "second"})
    )
    assert str(chosen.exported_name(service())) == "bookinfo/first"
    assert str(chosen.exported_name(service("details"))) == "bookinfo/second"


def test_nothing_is_exported_without_a_rule() -> None:
    """No rules, no exports."""
    assert rules().exported_name(service()) is None


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"matchLabels": {"app": "ratings"}}, True),
        ({"matchLabels": {"app": "ratings", "tier": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["ratings", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ratings"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["ratings"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_label_rules(selector: dict[str, object], matches: bool) -> None:
    """A label rule follows Kubernetes' label selectors; an empty one matches everything."""
    rule = {"type": "LabelSelector", "labelSelector": {"selector": selector}}
    found = rules(rule).exported_name(service(labels={"app": "ratings"}))
    assert (found is not None) is matches


def test_label_rules_try_their_aliases_in_order() -> None:
    """The first alias that matches is used; without one the original name stays."""
    aliases = [
        {"namespace": "*", "name": "ratings", "alias": {"name": "stars"}},
        {"namespace": "*", "name": "*", "alias": {"namespace": "shop"}},
    ]
    chosen = rules({"type": "LabelSelector", "labelSelector": {"namespace": "bookinfo", "aliases": aliases}})
    assert str(chosen.exported_name(service())) == "bookinfo/stars"
    assert str(chosen.exported_name(service("details"))) == "shop/details"
    assert chosen.exported_name(service(namespace="other")) is None


def test_an_unusable_rule_is_told_of_and_the_others_count() -> None:
    """A rule that cannot be used is skipped, named by its index, with what to do."""
    without_values = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    bad: dict[str, object] = {"type": "LabelSelector", "labelSelector": {"selector": without_values}}
    chosen = rules({"type": "NameSelector"}, bad, by_name())
    assert [problem.rule for problem in chosen.problems] == [0, 1]
    assert "exportRules[1]" in chosen.problems[1].message
    assert "at least one value" in chosen.problems[1].message
    assert chosen.exported_name(service()) is not None


@pytest.mark.parametrize(
    ("candidate", "allowed"),
    [
        (service(), True),
        (service(is_external=True), False),
        (service(is_federation=True), False),
        (service(export_to="*"), True),
        (service(export_to="."), False),
        (service(namespace="green-mesh-system", export_to="."), True),
        (service(export_to="~"), False),
        (service(export_to="a, green-mesh-system"), True),
        (service(export_to="a,b"), False),
    ],
)
def test_candidates(candidate: LocalService, allowed: bool) -> None:
    """Only services of the mesh itself that its control plane may see are candidates; federation's own never are."""
    assert candidate.can_be_exported("green-mesh-system") is allowed


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        (LocalPort("http", 80), "HTTP"),
        (LocalPort("http-api", 80), "HTTP"),
        (LocalPort("http2-api", 80), "HTTP2"),
        (LocalPort("grpc", 80), "GRPC"),
        (LocalPort("grpc-web", 80), "GRPC-WEB"),
        (LocalPort("grpc-web-x", 80), "GRPC-WEB"),
        (LocalPort("https", 443), "HTTPS"),
        (LocalPort("mysql", 3306), "MYSQL"),
        (LocalPort("web", 80), "TCP"),
        (LocalPort("", 80), "TCP"),
        (LocalPort("web", 80, app_protocol="http"), "HTTP"),
        (LocalPort("http", 80, app_protocol="kubernetes.io/h2c"), "HTTP2"),
        (LocalPort("http", 80, app_protocol="example.com/own"), "TCP"),
        (LocalPort("dns", 53, protocol="UDP"), "UDP"),
    ],
)
def test_protocol_of_a_port(port: LocalPort, protocol: str) -> None:
    """The protocol comes from appProtocol, else the name's prefix, else TCP (docs/protocol.md §2)."""
    assert port_protocol(port) == protocol


def test_message_carries_the_exported_name_and_the_ingress() -> None:
    """The peer is told the exported name, the TCP ports and the identities of the ingress."""
    local = LocalService(QualifiedName("a", "b"), (LocalPort("http", 9080), LocalPort("dns", 53, protocol="UDP")))
    message = export_message(local, QualifiedName("bookinfo", "ratings"), peer="red-mesh", accounts=[INGRESS])
    assert message.hostname == "ratings.bookinfo.svc.red-mesh-exports.local"
    assert [port.port for port in message.service_ports] == [9080]
    assert message.service_accounts == (str(INGRESS),)


NAMES = st.sampled_from(["", "*", "a", "b"])
RULES = st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES), max_size=5)


@given(RULES, st.sampled_from(["a", "b", "c"]), st.sampled_from(["a", "b", "c"]))
def test_rules_equal_the_obvious_version(
    given_rules: list[tuple[str, str, str, str]], namespace: str, name: str
) -> None:
    """Compiled rules decide as a loop over the text of the specification does."""

    def obvious() -> str | None:
        for rule_namespace, rule_name, alias_namespace, alias_name in given_rules:
            if rule_namespace in ("", "*", namespace) and rule_name in ("", "*", name):
                new_namespace = namespace if alias_namespace in ("", "*") else alias_namespace
                return f"{new_namespace}/{name if alias_name in ('', '*') else alias_name}"
        return None

    compiled = rules(
        *(by_name(one, two, alias={"namespace": three, "name": four}) for one, two, three, four in given_rules)
    )
    found = compiled.exported_name(service(name, namespace))
    assert (str(found) if found else None) == obvious()
