"""How links fare, from resources alone: one line for a mesh and a peer, with both directions. Pure.

The evidence is what control-plane pods write of their own watch and of those that watch them; the reason is that of
the condition Ready, or, if the link stands, of what is not carried out of its sets. Source: docs/reference.md §3.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Final, NamedTuple

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.api.exports import ExportsStatus
from isthmus.api.imports import ImportsStatus
from isthmus.api.meta import Envelope, condition
from isthmus.api.peer import DiscoveryStatus, PodDiscoveryStatus
from isthmus.api.selectors import ServiceMapping
from isthmus.federation.causes import ACCEPTED, BY_REASON, READY

DIRECTIONS: Final = {
    (True, True): "both ways",
    (True, False): "to the peer",
    (False, True): "from the peer",
    (False, False): "down",
}

MOST_SAID: Final = 160
"""Characters of what is said of a set in a line; it may be a list of ten problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What was read of one cluster."""

    context: str = ""
    meshes: Sequence[ServiceMeshControlPlane] = ()
    peers: Sequence[ServiceMeshPeer] = ()
    exports: Sequence[ExportedServiceSet] = ()
    imports: Sequence[ImportedServiceSet] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLine:
    """One mesh and one peer of it; without ``peer`` a mesh that has none."""

    context: str
    namespace: str
    mesh: str
    """Empty if no ServiceMeshControlPlane could be seen beside the peer."""
    peer: str = ""
    is_watching: bool = False
    is_watched: bool = False
    exports: int = 0
    offered: int = 0
    imports: int = 0
    last_sync: datetime | None = None
    is_ready: bool | None = None
    """None if the control plane does not say."""
    reason: str = ""
    why: str = ""
    message: str = ""
    addresses: tuple[str, ...] = ()
    trust_domain: str = ""
    pods: int = 0
    """Control-plane pods that tell of the link."""

    @property
    def link(self) -> str:
        """Both directions in words."""
        return DIRECTIONS[self.is_watching, self.is_watched] if self.peer else ""


class _Key(NamedTuple):
    """Which object of a kind."""

    namespace: str
    name: str


def link_lines(found: Resources) -> tuple[LinkLine, ...]:
    """A line for each peer, and for each mesh without any, in the order of namespaces and names."""
    meshes = {_key(each).namespace: _key(each).name for each in found.meshes}
    exports = {_key(each): each for each in found.exports}
    imports = {_key(each): each for each in found.imports}
    lines = [_line(found.context, meshes, peer, exports, imports) for peer in sorted(found.peers, key=_key)]
    lonely = meshes.keys() - {line.namespace for line in lines}
    lines.extend(_lonely(found, namespace) for namespace in lonely)
    return tuple(sorted(lines, key=lambda line: (line.namespace, line.peer)))


def _lonely(found: Resources, namespace: str) -> LinkLine:
    mesh = next(each for each in found.meshes if _key(each).namespace == namespace)
    ready = condition(mesh.status.conditions if mesh.status else (), READY)
    return LinkLine(
        context=found.context,
        namespace=namespace,
        mesh=_key(mesh).name,
        is_ready=None if ready is None else ready.status == "True",
        reason="NoPeer",
        why="it has no ServiceMeshPeer",
    )


def _line(
    context: str,
    meshes: Mapping[str, str],
    peer: ServiceMeshPeer,
    exports: Mapping[_Key, ExportedServiceSet],
    imports: Mapping[_Key, ImportedServiceSet],
) -> LinkLine:
    key = _key(peer)
    exported, imported = exports.get(key), imports.get(key)
    shown = (exported.status if exported else None) or ExportsStatus()
    seen = (imported.status if imported else None) or ImportsStatus()
    pods = _pods(peer)
    is_ready, reason, message = _reason(peer, pods)
    why = _in_words(reason, message)
    if is_ready and (found := _not_accepted(exported) or _not_accepted(imported)):
        reason, message = found
        why = shorten(message, MOST_SAID, placeholder=" …")
    return LinkLine(
        context=context,
        namespace=key.namespace,
        mesh=meshes.get(key.namespace, ""),
        peer=key.name,
        is_watching=any(pod.watch is not None and pod.watch.connected for pod in pods),
        is_watched=any(remote.connected for pod in pods for remote in pod.remotes or ()),
        exports=_count(shown.exported, shown.exported_services),
        offered=_count(seen.offered, seen.imported_services),
        imports=_count(seen.imported, [each for each in seen.imported_services or () if each.local_service.name]),
        last_sync=max(
            (pod.watch.last_full_sync for pod in pods if pod.watch and pod.watch.last_full_sync), default=None
        ),
        is_ready=is_ready,
        reason=reason,
        why=why,
        message=message,
        addresses=peer.spec.remote.addresses,
        trust_domain=peer.spec.security.trust_domain,
        pods=len(pods),
    )


def _count(told: int | None, listed: Collection[ServiceMapping] | None) -> int:
    """How many there are; a mesh of another make does not tell, and lists all."""
    return told if told is not None else len(listed or ())


def _pods(peer: ServiceMeshPeer) -> tuple[PodDiscoveryStatus, ...]:
    discovery = (peer.status.discovery_status if peer.status else None) or DiscoveryStatus()
    return (*(discovery.active or ()), *(discovery.inactive or ()))


def _reason(peer: ServiceMeshPeer, pods: Iterable[PodDiscoveryStatus]) -> tuple[bool | None, str, str]:
    """Whether the link is ready, in one word why, and the message; from older statuses as far as they tell."""
    conditions = peer.status.conditions if peer.status else ()
    ready, accepted = condition(conditions, READY), condition(conditions, ACCEPTED)
    if ready is not None:
        return ready.status == "True", ready.reason, ready.message
    if accepted is not None and accepted.status == "False":
        return False, accepted.reason, accepted.message
    causes = [pod.watch.last_disconnect_status for pod in pods if pod.watch is not None and not pod.watch.connected]
    cause = next((each for each in causes if each), None)
    return None, "" if cause is None else "Disconnected", cause or ("" if pods else "no control plane tells of it")


def _not_accepted(found: ExportedServiceSet | ImportedServiceSet | None) -> tuple[str, str] | None:
    """What is not carried out of a set, in one word and in full."""
    accepted = condition(found.status.conditions, ACCEPTED) if found is not None and found.status is not None else None
    if found is None or accepted is None or accepted.status != "False":
        return None
    return accepted.reason, f"{type(found).__name__}: {accepted.message}"


def _in_words(reason: str, message: str) -> str:
    cause = BY_REASON.get(reason)
    return cause.meaning.rstrip(".") if cause is not None else message


def _key(resource: Envelope) -> _Key:
    return _Key(resource.metadata.namespace or "", resource.metadata.name or "")
