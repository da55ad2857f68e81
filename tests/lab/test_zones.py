"""The zones of nodes, as their label tells."""

from typing import cast

from lightkube import AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from isthmus.lab.client import Informers
from isthmus.lab.zones import ZONE_LABEL, Zones


def node(name: str, zone: str, version: int) -> Node:
    return Node(metadata=ObjectMeta(name=name, resourceVersion=str(version), labels={ZONE_LABEL: zone, "other": "x"}))


def test_who_changes_its_zone_is_told() -> None:
    """Each change of a node's zone is told once, with the node's name; other changes are not."""
    informers = Informers(cast("AsyncClient", None))  # asked for nothing: what there is is observed
    nodes, seen = informers.of(Node), list[str]()
    zones = Zones(informers, changed=seen.append)
    for version, (name, zone) in enumerate([("a", "z1"), ("b", "z1"), ("a", "z1"), ("b", "z2")], start=1):
        nodes.observe(node(name, zone, version))
    assert seen == ["a", "b", "b"]
    assert [zones.of(name) for name in ("a", "b", "c", None)] == ["z1", "z2", "", ""]
