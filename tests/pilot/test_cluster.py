"""What is made of the cluster's objects, driven by the stores that the reflectors fill."""

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node
from tests.kube.unconnected import unconnected

from isthmus.kube import ObjectKey
from isthmus.pilot.cluster import REGION, ZONE, Cluster


def node(name: str, version: str, *, zone: str = "", region: str = "") -> Node:
    """A Node as the API server gives it."""
    labels = {label: value for label, value in ((ZONE, zone), (REGION, region)) if value}
    return Node(metadata=ObjectMeta(name=name, labels=labels, resourceVersion=version))


async def test_only_another_region_of_a_zone_is_told() -> None:
    """Nodes that come, go and beat are no news, as long as each zone is in the region that it was known to be in."""
    told: list[None] = []
    async with unconnected() as client:
        cluster = Cluster(client, namespace="red-mesh-system")
    cluster.nodes.put(node("a-1", "1", zone="a", region="north"))
    cluster.subscribe_places(lambda: told.append(None))
    cluster.nodes.put(node("a-2", "2", zone="a", region="north"))
    cluster.nodes.put(node("nowhere", "3"))
    cluster.nodes.put(node("b-1", "4", zone="b"))
    cluster.nodes.put(node("a-1", "5", zone="a", region="north"))
    cluster.nodes.remove(ObjectKey("", "a-1"))
    assert len(told) == 0
    cluster.nodes.put(node("b-1", "6", zone="b", region="north"))
    assert len(told) == 1
    cluster.nodes.put(node("a-2", "7", zone="a", region="south"))
    assert len(told) == 2
