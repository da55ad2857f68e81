"""Which resources are of one mesh, and which mesh a peer is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.api import ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.doctor.lint.resources import CONFIG_MAP, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """The resources of one control plane's namespace; ``control_plane`` is None if it is not among the files."""

    namespace: str
    control_plane: Resource | None = None
    peers: Mapping[str, Resource] = field(default_factory=dict)
    exports: Mapping[str, Resource] = field(default_factory=dict)
    imports: Mapping[str, Resource] = field(default_factory=dict)
    config_maps: Mapping[str, Resource] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the mesh, else of its namespace."""
        return self.control_plane.name if self.control_plane else self.namespace

    @property
    def typed(self) -> ServiceMeshControlPlane | None:
        """The control plane, if it is there and its schema takes it."""
        found = self.control_plane.typed if self.control_plane else None
        return found if isinstance(found, ServiceMeshControlPlane) else None

    @property
    def trust_domain(self) -> str:
        """The trust domain; empty if the control plane is not known."""
        return self.typed.spec.security.trust.domain if self.typed else ""

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """All trust domains that are its own, aliases too; our own roots vouch for a peer that is of one of them."""
        trust = self.typed.spec.security.trust if self.typed else None
        return (trust.domain, *trust.additional_domains) if trust else ()


def meshes_of(resources: Sequence[Resource]) -> list[Mesh]:
    """The meshes, by namespace; where clusters use one namespace for theirs, by the folder of the control plane."""
    planes = [each for each in resources if each.kind == "ServiceMeshControlPlane"]
    with_mesh = {each.namespace for each in resources if each.kind != CONFIG_MAP}
    groups: dict[tuple[str, int], list[Resource]] = {}
    for each in resources:
        if each.namespace in with_mesh:
            groups.setdefault((each.namespace, _plane_of(each, planes)), []).append(each)
    return [_mesh(namespace, group) for (namespace, _), group in sorted(groups.items(), key=lambda item: item[0])]


def _plane_of(resource: Resource, planes: Sequence[Resource]) -> int:
    """Which of the control planes in its namespace a resource belongs to: the one whose folder is the nearest."""
    candidates = [index for index, plane in enumerate(planes) if plane.namespace == resource.namespace]
    return max(candidates, key=lambda index: (_common(resource, planes[index]), -index), default=-1)


def _common(one: Resource, other: Resource) -> int:
    """How near two files are: the number of folders that they share."""
    if one is other:
        return 1_000_000
    shared = 0
    for ours, theirs in zip(one.folder, other.folder, strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared


def _mesh(namespace: str, group: Iterable[Resource]) -> Mesh:
    by_kind: dict[str, dict[str, Resource]] = {}
    for each in group:
        by_kind.setdefault(each.kind, {}).setdefault(each.name, each)
    return Mesh(
        namespace=namespace,
        control_plane=next(iter(by_kind.get("ServiceMeshControlPlane", {}).values()), None),
        peers=by_kind.get("ServiceMeshPeer", {}),
        exports=by_kind.get("ExportedServiceSet", {}),
        imports=by_kind.get("ImportedServiceSet", {}),
        config_maps=by_kind.get(CONFIG_MAP, {}),
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A peer of ``mesh``; the mesh that it stands for, and the peer which that one has for us, if they are there."""

    mesh: Mesh
    peer: Resource
    spec: ServiceMeshPeer
    other: Mesh | None = None
    back: ServiceMeshPeer | None = None


def pairs_of(meshes: Sequence[Mesh]) -> list[Pair]:
    """Every peer that its schema takes, with the other side of it."""
    found = []
    for mesh in meshes:
        for peer in mesh.peers.values():
            if isinstance(peer.typed, ServiceMeshPeer):
                other = _meant(mesh, peer, peer.typed, meshes)
                found.append(Pair(mesh, peer, peer.typed, other, _back(mesh, other, meshes)))
    return found


def _meant(mesh: Mesh, peer: Resource, typed: ServiceMeshPeer, meshes: Sequence[Mesh]) -> Mesh | None:
    """The mesh that a peer stands for: by trust domain and the namespace of its clientID, else by name.

    Of several that are equally like it, the one whose control plane is in the nearest folder.
    """
    scored = [
        ((_likeness(typed, each), _common(peer, each.control_plane)), each)
        for each in meshes
        if each is not mesh and each.control_plane is not None
    ]
    best = max((score for score, _ in scored), default=(0, 0))
    chosen = [each for score, each in scored if score == best]
    return chosen[0] if best[0] >= 2 and len(chosen) == 1 else None


def _likeness(peer: ServiceMeshPeer, mesh: Mesh) -> int:
    """How much speaks for the peer being this mesh; less than 2 is not enough."""
    security = peer.spec.security
    return (
        2 * (mesh.trust_domain == security.trust_domain)
        + 2 * (mesh.name == peer.metadata.name)
        + (f"/ns/{mesh.namespace}/sa/" in security.client_id)
    )


def _back(mesh: Mesh, other: Mesh | None, meshes: Sequence[Mesh]) -> ServiceMeshPeer | None:
    """The peer by which the other mesh knows us."""
    for peer in other.peers.values() if other is not None else ():
        typed = peer.typed
        if isinstance(typed, ServiceMeshPeer) and other is not None and _meant(other, peer, typed, meshes) is mesh:
            return typed
    return None
