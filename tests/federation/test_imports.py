"""Import rules and gateway ports. Sections: docs/reference.md §5."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.api import ImportedServiceSet
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.ports import FIRST_PORT, LAST_PORT, ImportKey, PortBook, PortsExhaustedError

RATINGS = ServiceMessage(name="ratings", namespace="bookinfo", hostname="ratings.bookinfo.svc.red-mesh-exports.local")


def rules(*yaml: dict[str, object], **spec: object) -> ImportRules:
    resource = {
        "apiVersion": "federation.maistra.io/v1",
        "kind": "ImportedServiceSet",
        "metadata": {"name": "green-mesh", "namespace": "red-mesh-system"},
        "spec": {**spec, "importRules": list(yaml)},
    }
    imports = msgspec.convert(resource, ImportedServiceSet)
    return ImportRules.of(imports, peer="green-mesh", cluster_domain="cluster.local")


def rule(
    namespace: str = "", name: str = "", *, alias: dict[str, str] | None = None, **more: object
) -> dict[str, object]:
    selector: dict[str, object] = {"namespace": namespace, "name": name}
    return {"type": "NameSelector", "nameSelector": {**selector, "alias": alias} if alias else selector, **more}


@pytest.mark.parametrize(
    ("given_rule", "hostname"),
    [
        pytest.param(rule(), "ratings.bookinfo.svc.green-mesh-imports.local", id="default suffix"),
        pytest.param(rule("bookinfo", "ratings"), "ratings.bookinfo.svc.green-mesh-imports.local", id="exact"),
        pytest.param(rule("bookinfo", "details"), None, id="no match"),
        pytest.param(rule(alias={"name": "stars"}), "stars.bookinfo.svc.green-mesh-imports.local", id="alias"),
        pytest.param(rule(domainSuffix="green.example"), "ratings.bookinfo.green.example", id="suffix of the rule"),
        pytest.param(
            rule(importAsLocal=True, alias={"namespace": "bookinfo"}), "ratings.bookinfo.svc.cluster.local", id="local"
        ),
        pytest.param(
            rule(importAsLocal=True, domainSuffix="x.y", alias={"namespace": "shop"}),
            "ratings.shop.svc.cluster.local",
            id="local overrides the suffix",
        ),
    ],
)
def test_names_of_imports(given_rule: dict[str, object], hostname: str | None) -> None:
    """The local name follows from alias, suffix and importAsLocal."""
    found = rules(given_rule).imported_name(RATINGS)
    assert (found.hostname if found else None) == hostname


def test_suffix_of_the_set() -> None:
    """The set's suffix replaces the default, the rule's replaces the set's."""
    chosen = rules(rule("shop", domainSuffix="own.example"), rule(), domainSuffix="set.example")
    assert chosen.imported_name(RATINGS).hostname == "ratings.bookinfo.set.example"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given_rule", "says"),
    [
        (rule(importAsLocal=True), "alias.namespace"),
        (rule(importAsLocal=True, alias={"namespace": "*", "name": "x"}), "alias.namespace"),
        (rule(domainSuffix="svc.cluster.local"), "importAsLocal"),
        (rule(domainSuffix="cluster.local"), "importAsLocal"),
        ({"type": "NameSelector"}, "nameSelector"),
    ],
)
def test_an_unusable_rule_is_told_of(given_rule: dict[str, object], says: str) -> None:
    """A rule that cannot be used imports nothing, and its problem says what to do."""
    chosen = rules(given_rule)
    assert chosen.imported_name(RATINGS) is None
    assert says in chosen.problems[0].message


@pytest.mark.parametrize(
    ("locality", "region"),
    [
        ({"region": "us-east", "zone": "a", "subzone": "b"}, "us-east"),
        ({"region": "us-east"}, "us-east"),
        ({"zone": "a"}, ""),
        ({"region": "us-east", "subzone": "b"}, ""),
    ],
)
def test_a_locality_with_a_gap_is_dropped_whole(locality: dict[str, str], region: str) -> None:
    """A zone needs its region and a subzone its zone, else a problem is told."""
    chosen = rules(locality=locality)
    assert chosen.locality.region == region
    assert [each.reason for each in chosen.problems] == ([] if region else ["InvalidLocality"])


KEYS = st.builds(ImportKey, st.sampled_from(["p", "q"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 3))


@given(st.dictionaries(KEYS, st.integers(FIRST_PORT - 1, FIRST_PORT + 5)), st.lists(KEYS), st.lists(KEYS))
def test_ports_are_distinct_kept_and_stable(
    kept: dict[ImportKey, int], wanted: list[ImportKey], gone: list[ImportKey]
) -> None:
    """Each key has a port of its own, keeps the one it held alone; a restart from what is stored changes nothing."""
    book = PortBook(kept)
    for key in wanted:
        assert FIRST_PORT <= book.take(key) <= LAST_PORT
    for key in gone:
        book.give_back(key)
    ports = dict(book.held())
    assert len(set(ports.values())) == len(ports)
    assert not ports.keys() & set(gone)
    for key, port in kept.items():
        if port >= FIRST_PORT and list(kept.values()).count(port) == 1 and key not in gone:
            assert ports[key] == port
    assert PortBook(ports).held() == ports


def test_more_imports_than_ports_is_an_error() -> None:
    """When the range is full the next import is refused with its name."""
    book = PortBook()
    for port in range(LAST_PORT - FIRST_PORT + 1):
        book.take(ImportKey("p", "ratings", port))
    with pytest.raises(PortsExhaustedError, match="no gateway port is left for details:80"):
        book.take(ImportKey("p", "details", 80))
