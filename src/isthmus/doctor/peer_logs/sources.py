"""Which logs concern a peer: here, and on the other side where its cluster can be reached. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.api.controlplane import DEFAULT_TRUST_DOMAIN
from isthmus.doctor.objects import at

Object = Mapping[str, Any]


class LogsError(Exception):
    """There is no such peer, or more than one; the message says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What was found in the cluster of one context."""

    context: str | None
    control_planes: Sequence[Object]
    peers: Sequence[Object]

    @property
    def where(self) -> str:
        return f"context {self.context}" if self.context else "the current context"


@dataclass(frozen=True, slots=True)
class Side:
    """A mesh with the peer that it has for the other one."""

    cluster: Cluster
    control_plane: Object
    peer: Object

    @property
    def mesh(self) -> str:
        return str(self.control_plane["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.control_plane["metadata"]["namespace"])

    def gateway(self, role: str) -> str:
        """The gateway that serves the peer."""
        return str(at(self.peer, "spec", "gateways", role).get("name", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The log of the pods of one component."""

    context: str | None
    mesh: str
    component: str
    """``istiod``, or the name of a gateway."""
    namespace: str
    labels: str
    """Selects the pods."""
    peer: str
    """What this side calls the peer."""
    gateways: tuple[str, ...] = ()
    """The gateways that serve it, for the lines of a control plane that speak of them."""

    @property
    def is_control_plane(self) -> bool:
        return self.component == "istiod"


def sources(clusters: Sequence[Cluster], peer: str, *, namespace: str = "") -> list[Source]:
    """The logs for the peer of that name, which the first cluster that knows it has, and for its other side.

    Raises LogsError: no cluster has such a peer, or several namespaces of one have.
    """
    here = _here(clusters, peer, namespace)
    there = next(_other_sides(here, clusters), None)
    return [source for side in (here, there) if side is not None for source in _of(side)]


def _here(clusters: Sequence[Cluster], peer: str, namespace: str) -> Side:
    for cluster in clusters:
        sides = [
            each
            for each in _sides(cluster)
            if each.peer["metadata"]["name"] == peer and namespace in {"", each.namespace}
        ]
        if len(sides) > 1:
            listed = ", ".join(each.namespace for each in sides)
            raise LogsError(f"{cluster.where} has ServiceMeshPeers {peer} in {listed}: name one by --namespace")
        if sides:
            return sides[0]
    known = sorted({f"{each.namespace}/{each.peer['metadata']['name']}" for one in clusters for each in _sides(one)})
    where = " and ".join(cluster.where for cluster in clusters)
    raise LogsError(f"no ServiceMeshPeer {peer} in {where}: there are {', '.join(known) or 'none'}")


def _sides(cluster: Cluster) -> Iterator[Side]:
    """The peers of the cluster with the control planes that they are of."""
    for plane in cluster.control_planes:
        for peer in cluster.peers:
            if peer["metadata"]["namespace"] == plane["metadata"]["namespace"]:
                yield Side(cluster, plane, peer)


def _other_sides(here: Side, clusters: Iterable[Cluster]) -> Iterator[Side]:
    """The peer's mesh, told by trust domain and namespace as its identity has them; and its peer for us likewise."""
    for cluster in clusters:
        for there in _sides(cluster):
            if there.control_plane is not here.control_plane and _is(there, here.peer) and _is(here, there.peer):
                yield there


def _is(side: Side, peer: Object) -> bool:
    """Whether the peer stands for the mesh of this side."""
    domain = at(side.control_plane, "spec", "security", "trust").get("domain") or DEFAULT_TRUST_DOMAIN
    client = str(at(peer, "spec", "security").get("clientID", ""))
    return client.startswith(f"{domain}/ns/{side.namespace}/sa/")


def _of(side: Side) -> Iterator[Source]:
    gateways = tuple(side.gateway(role) for role in ("egress", "ingress"))
    common: dict[str, Any] = {
        "context": side.cluster.context,
        "mesh": side.mesh,
        "namespace": side.namespace,
        "peer": str(side.peer["metadata"]["name"]),
        "gateways": gateways,
    }
    yield Source(component="istiod", labels=f"app=istiod,istio.io/rev={side.mesh}", **common)
    for gateway in gateways:
        if gateway:
            yield Source(component=gateway, labels=f"app={gateway}", **common)
