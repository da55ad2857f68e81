"""Plan: the configuration of each peer, or why it has none, looked at beside all other peers."""

from contextlib import suppress

from isthmus.api import ServiceMeshPeer
from isthmus.federation.clashes import refused_by_others
from isthmus.federation.peer import Mesh, PeerConfig, PeerConfigError, peer_config
from isthmus.kube import ObjectKey
from isthmus.pilot.cluster import Cluster


class PeerConfigs:
    """The configurations as the cluster has them now; nothing is kept."""

    def __init__(self, mesh: Mesh, cluster: Cluster) -> None:
        self._mesh = mesh
        self._cluster = cluster

    def of(self, peer: ServiceMeshPeer) -> PeerConfig:
        """The peer's configuration.

        All peers are looked at, and not what was made of them: at the start a later one may be first in the queue.

        Raises:
            PeerConfigError: the resource or its root cannot be used, or an older peer stands in its way.
        """
        config = self._alone(peer)
        clash = refused_by_others(self._usable()).get(config.name)
        if clash is not None:
            raise clash
        return config

    def _usable(self) -> list[PeerConfig]:
        """The configurations of all peers that have one, oldest first."""
        found = []
        for peer in sorted(self._cluster.peers.values(), key=_age):
            with suppress(PeerConfigError):
                found.append(self._alone(peer))
        return found

    def _alone(self, peer: ServiceMeshPeer) -> PeerConfig:
        return peer_config(peer, self._roots(peer), self._mesh)

    def _roots(self, peer: ServiceMeshPeer) -> dict[str, str] | None:
        config_map = self._cluster.config_maps.get(ObjectKey(self._mesh.namespace, peer.root_config_map))
        return None if config_map is None else dict(config_map.data or {})


def _age(peer: ServiceMeshPeer) -> tuple[str, str]:
    """A key that sorts peers from the oldest to the youngest, the same on every replica."""
    return str(peer.metadata.creationTimestamp or ""), peer.metadata.name or ""
