"""In which zone each node is, as its label tells (Kubernetes documentation, "Well-Known Labels")."""

from collections.abc import Callable

from lightkube.resources.core_v1 import Node

from isthmus.lab.client import Informers, ObjectKey, metadata_of

ZONE_LABEL = "topology.kubernetes.io/zone"


class Zones:
    """The zones of all nodes, followed by their label."""

    def __init__(self, informers: Informers, *, changed: Callable[[str], None]) -> None:
        """``changed`` is called with a node's name whenever it comes to be in another zone than before."""
        self._nodes = informers.of(Node)
        self._changed = changed
        self._nodes.subscribe(self._follow)

    def of(self, node: str | None) -> str:
        """The zone of the node of that name; empty if it is in none, or not known."""
        return _zone(self._nodes.get(ObjectKey("", node or "")))

    def _follow(self, key: ObjectKey, old: Node | None, new: Node | None) -> None:
        if _zone(old) != _zone(new):
            self._changed(key.name)


def _zone(node: Node | None) -> str:
    labels: dict[str, str] = (metadata_of(node).labels if node is not None else None) or {}
    return labels.get(ZONE_LABEL, "")
