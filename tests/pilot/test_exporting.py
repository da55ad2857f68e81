"""What each peer is told of our services, driven by the store that the cluster fills."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Service

from isthmus.api import ServiceMeshMemberRoll
from isthmus.api.exports import ExportRule
from isthmus.api.selectors import Alias, NameSelector
from isthmus.federation.export_table import ExportChange
from isthmus.federation.exports import ExportRules
from isthmus.federation.messages import parse_service_list
from isthmus.identity import SpiffeId, TrustDomain
from isthmus.kube import ObjectKey, Store
from isthmus.pilot.exporting import Exporting

NAMESPACE = "red-mesh-system"
INGRESS = SpiffeId.service_account(TrustDomain("red-mesh.local"), namespace=NAMESPACE, account="ingress")


def rules(*selectors: NameSelector) -> ExportRules:
    """Rules by name."""
    return ExportRules.of([ExportRule(type="NameSelector", name_selector=each) for each in selectors])


EVERYTHING = rules(NameSelector())


def service(name: str, *, version: str = "1", port: int = 9080, **metadata: Any) -> Service:
    """A Service as the API server gives it."""
    whole = {"name": name, "namespace": "bookinfo", "resourceVersion": version, **metadata}
    return msgspec.convert({"metadata": whole, "spec": {"ports": [{"name": "http", "port": port}]}}, Service)


class World:
    """A store of Services, what is exported of it, and what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Sequence[ExportChange]]] = []
        self.exporting = Exporting(
            namespace=NAMESPACE, cluster_domain="cluster.local", changed=lambda *told: self.told.append(told)
        )
        self.store: Store[Service] = Store()
        self.store.subscribe(self.exporting.service_changed)

    def exports(self, peer: str) -> list[str]:
        """The names in the list that a peer gets."""
        return [each.name for each in parse_service_list(self.exporting.feeds[peer].snapshot()).services]


def test_a_peer_is_told_of_what_is_there_and_of_what_comes() -> None:
    """Services from before and after the rules are exported alike; each peer by its own rules."""
    world = World()
    world.store.put(service("ratings"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    world.exporting.configure("blue-mesh", rules(NameSelector(name="details")), INGRESS)
    world.store.put(service("details"))
    assert world.exports("green-mesh") == ["details", "ratings"]
    assert world.exports("blue-mesh") == ["details"]
    world.store.remove(ObjectKey("bookinfo", "details"))
    assert world.exports("green-mesh") == ["ratings"]
    assert world.exports("blue-mesh") == []
    assert [(peer, len(changes)) for peer, changes in world.told] == [
        ("green-mesh", 1),
        ("green-mesh", 1),
        ("blue-mesh", 1),
        ("green-mesh", 1),
        ("blue-mesh", 1),
    ]


def test_what_does_not_concern_sharing_is_no_news() -> None:
    """A Service that changes in ways that no peer sees, such as an annotation, tells nobody anything."""
    world = World()
    world.store.put(service("ratings"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    world.told.clear()
    checksum = world.exporting.feeds["green-mesh"].checksum
    world.store.put(service("ratings", version="2", annotations={"team": "red"}))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    assert world.told == []
    assert world.exporting.feeds["green-mesh"].checksum == checksum


def test_a_changed_port_is_told_with_all_its_names() -> None:
    """Whoever serves the exports learns under which server names something else, or nothing, is found now."""
    world = World()
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    world.store.put(service("ratings"))
    world.told.clear()
    world.store.put(service("ratings", version="2", port=9081))
    ((_, (change,)),) = world.told
    host = "ratings.bookinfo.svc.green-mesh-exports.local"
    assert change.server_names == [host, f"outbound_.9080_._.{host}", f"outbound_.9081_._.{host}"]


def test_rules_that_change_move_what_they_name() -> None:
    """An alias renames the export: the old name is withdrawn, the new one told."""
    world = World()
    world.store.put(service("ratings"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    world.exporting.configure("green-mesh", rules(NameSelector(alias=Alias(name="stars"))), INGRESS)
    assert world.exports("green-mesh") == ["stars"]
    world.exporting.configure("green-mesh", ExportRules(), INGRESS)
    assert world.exports("green-mesh") == []


@pytest.mark.parametrize("label", ["federation.maistra.io/ingress-for", "federation.maistra.io/egress-for"])
def test_federations_own_services_are_never_exported(label: str) -> None:
    """Not even a rule that selects everything exports gateways or imports."""
    world = World()
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    world.store.put(service("gateway", labels={label: "x"}))
    world.store.put(service("import", labels={"app.kubernetes.io/managed-by": "isthmus"}))
    assert world.exports("green-mesh") == []


def test_a_peer_that_goes_is_told_nothing_more() -> None:
    """Its exports are withdrawn, its watches end, and changes of Services do not reach it any more."""
    world = World()
    world.store.put(service("ratings"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    feed = world.exporting.feeds["green-mesh"]
    with feed.subscribe("192.0.2.1", cut_off=lambda: None):
        world.exporting.remove("green-mesh")
        assert (feed.is_closed, len(feed)) == (True, 0)
    world.store.put(service("details"))
    assert (world.exporting.tables, world.exporting.feeds, len(feed)) == ({}, {}, 0)
    world.exporting.remove("green-mesh")


def test_ended_watches_begin_anew_with_the_same_list() -> None:
    """Who watched has to come back, and finds what is exported as it was; ending those of a stranger does nothing."""
    world = World()
    world.store.put(service("ratings"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    before = world.exporting.feeds["green-mesh"].snapshot()
    world.exporting.end_watches("green-mesh")
    world.exporting.end_watches("blue-mesh")
    assert not world.exporting.feeds["green-mesh"].is_closed
    assert world.exporting.feeds["green-mesh"].snapshot() == before
    world.store.put(service("details"))
    assert world.exports("green-mesh") == ["details", "ratings"]


def member_roll(*members: str, version: str = "1", name: str = "default") -> ServiceMeshMemberRoll:
    """A roll as the API server gives it."""
    metadata = {"name": name, "namespace": NAMESPACE, "resourceVersion": version}
    return msgspec.convert({"metadata": metadata, "spec": {"members": members}}, ServiceMeshMemberRoll)


def test_only_services_of_members_are_exported() -> None:
    """A member roll withdraws what is outside of it and nothing else; without it all is exported again."""
    world = World()
    rolls: Store[ServiceMeshMemberRoll] = Store()
    rolls.subscribe(world.exporting.member_roll_changed)
    world.store.put(service("ratings"))
    world.store.put(service("cart", namespace="shop"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    rolls.put(member_roll(name="another"))
    assert world.exports("green-mesh") == ["cart", "ratings"]
    world.told.clear()
    rolls.put(member_roll("bookinfo"))
    assert world.exports("green-mesh") == ["ratings"]
    assert [[change.hostname for change in changes] for _, changes in world.told] == [
        ["cart.shop.svc.green-mesh-exports.local"]
    ]
    world.store.put(service("checkout", namespace="shop"))
    world.exporting.configure("blue-mesh", EVERYTHING, INGRESS)
    assert world.exports("blue-mesh") == world.exports("green-mesh") == ["ratings"]
    rolls.put(member_roll("shop", version="2"))
    assert world.exports("green-mesh") == ["cart", "checkout"]
    rolls.remove(ObjectKey(NAMESPACE, "default"))
    assert world.exports("green-mesh") == ["cart", "checkout", "ratings"]


def namespace(name: str, version: str, **labels: str) -> Namespace:
    """A Namespace as the API server gives it."""
    return Namespace(metadata=ObjectMeta(name=name, labels=labels, resourceVersion=version))


def test_services_of_selected_namespaces_are_exported() -> None:
    """A namespace joins the mesh, or leaves it, as its labels change; others are not looked at."""
    world = World()
    rolls: Store[ServiceMeshMemberRoll] = Store()
    namespaces: Store[Namespace] = Store()
    rolls.subscribe(world.exporting.member_roll_changed)
    namespaces.subscribe(world.exporting.namespace_changed)
    namespaces.put(namespace("shop", "1", mesh="red"))
    metadata = {"name": "default", "namespace": NAMESPACE, "resourceVersion": "1"}
    spec = {"memberSelectors": [{"matchLabels": {"mesh": "red"}}]}
    rolls.put(msgspec.convert({"metadata": metadata, "spec": spec}, ServiceMeshMemberRoll))
    world.store.put(service("ratings"))
    world.store.put(service("cart", namespace="shop"))
    world.exporting.configure("green-mesh", EVERYTHING, INGRESS)
    assert world.exports("green-mesh") == ["cart"]
    namespaces.put(namespace("bookinfo", "2", mesh="red"))
    assert world.exports("green-mesh") == ["cart", "ratings"]
    namespaces.put(namespace("shop", "3", mesh="green"))
    assert world.exports("green-mesh") == ["ratings"]
    namespaces.remove(ObjectKey("", "bookinfo"))
    assert world.exports("green-mesh") == []
    namespaces.remove(ObjectKey("", "shop"))
    assert world.exporting._labels == {}
