"""What rules would do before they are applied."""

import msgspec

from isthmus.api import ExportedServiceSet, ImportedServiceSet
from isthmus.federation.exports import LocalPort, LocalService
from isthmus.federation.preview import Renamed, preview_exports, preview_imports
from isthmus.federation.selection import QualifiedName

SERVICES = [
    LocalService(QualifiedName("bookinfo", name), (LocalPort("http", 9080),)) for name in ("details", "ratings")
]
OFFERED = [f"{name}.bookinfo.svc.red-mesh-exports.local" for name in ("details", "ratings")]


def exports(*selectors: dict[str, object]) -> ExportedServiceSet:
    rules = [{"type": "NameSelector", "nameSelector": selector} for selector in selectors]
    metadata = {"name": "red-mesh", "namespace": "green-mesh-system"}
    return msgspec.convert({"metadata": metadata, "spec": {"exportRules": rules}}, ExportedServiceSet)


def imports(*selectors: dict[str, object]) -> ImportedServiceSet:
    rules = [{"type": "NameSelector", "nameSelector": selector} for selector in selectors]
    metadata = {"name": "green-mesh", "namespace": "red-mesh-system"}
    return msgspec.convert({"metadata": metadata, "spec": {"importRules": rules}}, ImportedServiceSet)


def test_a_first_export_set_adds_what_it_selects() -> None:
    """Without a set nothing is shared; the proposed one adds, under the exported name."""
    shown = preview_exports(None, exports({"name": "ratings"}), SERVICES)
    assert shown.added == {OFFERED[1]: "ratings.bookinfo.svc.cluster.local"}
    assert (shown.removed, shown.renamed, shown.kept, shown.problems) == ({}, (), 0, ())


def test_another_export_set_withdraws_what_it_does_not_select() -> None:
    """What the present set shares and the proposed one does not is withdrawn; what both share is kept."""
    shown = preview_exports(exports({"namespace": "bookinfo"}), exports({"name": "ratings"}), SERVICES)
    assert shown.removed == {OFFERED[0]: "details.bookinfo.svc.cluster.local"}
    assert (dict(shown.added), shown.kept) == ({}, 1)


def test_shadowed_rules_and_taken_names_are_told() -> None:
    """A rule that never decides, and a service that comes to a name that another has, are named with the rule."""
    one_name: dict[str, object] = {"alias": {"namespace": "shop", "name": "one"}}
    shown = preview_exports(None, exports(one_name, {"name": "ratings"}), SERVICES)
    assert {problem.reason for problem in shown.problems} == {"ShadowedRule", "NameTaken"}
    assert any("exportRules[1]" in problem.message for problem in shown.problems)


def test_a_name_that_leads_elsewhere_is_a_change() -> None:
    """One exported name before and after, of two services."""
    to_one = {"namespace": "shop", "name": "one"}
    before = exports({"name": "details", "alias": to_one})
    shown = preview_exports(before, exports({"name": "ratings", "alias": to_one}), SERVICES)
    hostname = "one.shop.svc.red-mesh-exports.local"
    details, ratings = (f"{name}.bookinfo.svc.cluster.local" for name in ("details", "ratings"))
    assert shown.renamed == (Renamed(hostname, details, ratings),)


def test_imports_by_what_the_peer_offers() -> None:
    """Of what is on offer, the rules say what would be usable, and as what."""
    before = imports({"name": "ratings"})
    after = imports({"name": "ratings", "alias": {"name": "stars"}}, {"name": "details"})
    shown = preview_imports(before, after, offered=OFFERED, cluster_domain="cluster.local")
    suffix = "bookinfo.svc.green-mesh-imports.local"
    assert shown.added == {OFFERED[0]: f"details.{suffix}"}
    assert shown.renamed == (Renamed(OFFERED[1], f"ratings.{suffix}", f"stars.{suffix}"),)
    assert shown.problems == ()
