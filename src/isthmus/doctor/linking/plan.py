"""What is to be written so that meshes are linked: from what there is to steps. Pure.

One step for each object that a link has to do with, also where nothing is to be done, so that it can be shown. A step
whose object is not known yet has none; the plan made after the others were carried out has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from isthmus.doctor.linking import objects
from isthmus.doctor.linking.addresses import NotYet, Remote, Unreachable, remote
from isthmus.doctor.linking.checks import problems
from isthmus.doctor.linking.differences import differences
from isthmus.doctor.linking.errors import LinkError
from isthmus.doctor.linking.names import gateway_name, root_name
from isthmus.doctor.linking.options import Options
from isthmus.doctor.linking.state import SECTIONS, MeshState, Object
from isthmus.doctor.objects import at
from isthmus.kube.apply import contains


class Verb(StrEnum):
    """What becomes of an object, as the plan shows it."""

    CREATE = "+"
    CHANGE = "~"
    KEEP = "="
    DELETE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one object."""

    verb: Verb
    kind: str
    name: str
    namespace: str
    mesh: str
    details: tuple[str, ...] = ()
    """What is made, changed or left of it, each in a line."""
    object: Object | None = None
    """What is applied: all that a link wants of the object; None if nothing is, or if it is not known yet."""
    patch: Object | None = None
    """What is merged into the object instead, with null for what goes."""
    whole: Object | None = None
    """The object as it becomes, for a file; None for what others have made."""

    @property
    def is_open(self) -> bool:
        """Whether it has to wait for what the other steps bring about."""
        return self.verb in {Verb.CREATE, Verb.CHANGE} and self.object is None and self.patch is None


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, by mesh in the order in which these were named; control planes and roots before peers."""

    meshes: tuple[MeshState, ...]
    steps: tuple[Step, ...]

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to write."""
        return all(step.verb is Verb.KEEP for step in self.steps)

    def count(self, verb: Verb) -> int:
        """How many steps are of this kind."""
        return sum(step.verb is verb for step in self.steps)


def plan_link(meshes: Sequence[MeshState], options: Options) -> Plan:
    """What links each of the meshes with each.

    Raises LinkError: they cannot be linked as they are; then nothing may be written.
    """
    wrong = problems(meshes)
    steps = []
    for mesh in meshes:
        peers = [peer for peer in meshes if peer is not mesh]
        steps.append(control_plane_step(mesh, peers, options))
        steps += [_root(mesh, peer) for peer in peers]
        for peer in peers:
            try:
                steps.append(_peer(mesh, peer, remote=_remote(mesh, peer, options)))
            except Unreachable as error:
                wrong.append(str(error))
    if wrong:
        raise LinkError(list(dict.fromkeys(wrong)))
    return Plan(tuple(meshes), tuple(steps))


def _remote(mesh: MeshState, peer: MeshState, options: Options) -> Remote | NotYet:
    gateway = gateway_name("ingress", owner=peer, peer=mesh.name)
    return remote(peer, gateway, caller=mesh, given=options.given(peer.name, mesh.name))


def control_plane_step(mesh: MeshState, peers: Sequence[MeshState], options: Options) -> Step:
    """The gateways for all peers: the entries that we want, with those that we have made for others."""
    wanted = {role: _wanted_gateways(mesh, peers, role, options) for role in SECTIONS}
    missing = {
        role: {name: entry for name, entry in entries.items() if not contains(mesh.gateways(role).get(name), entry)}
        for role, entries in wanted.items()
    }
    is_done = not any(missing.values())
    return Step(
        verb=Verb.KEEP if is_done else Verb.CHANGE,
        kind="ServiceMeshControlPlane",
        name=mesh.name,
        namespace=mesh.namespace,
        mesh=mesh.name,
        details=tuple(_gateway_details(mesh, missing)),
        object=None if is_done else _applied_control_plane(mesh, wanted),
        whole=_whole_control_plane(mesh, wanted),
    )


def _wanted_gateways(mesh: MeshState, peers: Sequence[MeshState], role: str, options: Options) -> dict[str, Any]:
    """What a link wants of the gateways of a role, by name; those that others have made stay as they are."""
    wanted = {}
    for peer in peers:
        name = gateway_name(role, owner=mesh, peer=peer.name)
        there = mesh.gateways(role).get(name)
        if there is None or objects.gateway_owner(there):
            kind = options.service_type or str(at(there or {}, "service").get("type") or "LoadBalancer")
            wanted[name] = objects.gateway(role, name, peer=peer.name, service_type=kind)
    return wanted


def _gateway_details(mesh: MeshState, missing: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for role, entries in missing.items():
        for name, entry in entries.items():
            path = f"spec.gateways.{SECTIONS[role]}.{name}"
            there = mesh.gateways(role).get(name)
            if there is None:
                lines.append(f"+ {path}")
            else:
                lines += [f"~ {line}" for line in differences(there, entry, path)]
    return lines


def _applied_control_plane(mesh: MeshState, wanted: Mapping[str, Mapping[str, Any]]) -> Object:
    """What is applied: everything under our name, since what an applier leaves out is taken away."""
    gateways = {}
    for role, section in SECTIONS.items():
        made_before = {name: entry for name, entry in mesh.gateways(role).items() if objects.gateway_owner(entry)}
        gateways[section] = {**made_before, **wanted[role]}
    # The uid makes it a conflict, and not a new control plane, if the resource is gone by then.
    metadata = {name: mesh.control_plane["metadata"][name] for name in ("name", "namespace", "uid")}
    kinds = {name: mesh.control_plane[name] for name in ("apiVersion", "kind")}
    return {**kinds, "metadata": metadata, "spec": {"gateways": gateways}}


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _whole_control_plane(mesh: MeshState, wanted: Mapping[str, Mapping[str, Any]]) -> Object:
    """The whole resource, since ``kubectl apply`` of a part would take away what it once applied and is not there."""
    metadata: dict[str, Any] = {"name": mesh.name, "namespace": mesh.namespace}
    for name in ("labels", "annotations"):
        kept = {key: value for key, value in at(mesh.control_plane, "metadata", name).items() if key != _LAST_APPLIED}
        if kept:
            metadata[name] = kept
    spec = at(mesh.control_plane, "spec")
    merged = {section: {**mesh.gateways(role), **wanted[role]} for role, section in SECTIONS.items()}
    kinds = {name: mesh.control_plane[name] for name in ("apiVersion", "kind")}
    return {**kinds, "metadata": metadata, "spec": {**spec, "gateways": {**at(spec, "gateways"), **merged}}}


def _root(mesh: MeshState, peer: MeshState) -> Step:
    name = root_name(mesh, peer.name)
    wanted = objects.root_config_map(mesh, name=name, peer=peer.name, root=peer.root)
    return _step(mesh, wanted, mesh.config_maps.get(name), details=())


def _peer(mesh: MeshState, peer: MeshState, *, remote: Remote | NotYet) -> Step:
    there = mesh.peers.get(peer.name)
    known = remote if isinstance(remote, Remote) else None
    wanted = objects.service_mesh_peer(
        mesh,
        peer,
        gateways={role: gateway_name(role, owner=mesh, peer=peer.name) for role in SECTIONS},
        client=gateway_name("egress", owner=peer, peer=mesh.name),
        roots=root_name(mesh, peer.name),
        remote=known,
    )
    if isinstance(remote, NotYet):
        return _open(mesh, wanted, there, reason=remote.reason)
    return _step(mesh, wanted, there, details=(f"addresses: {', '.join(remote.addresses)}",))


def _open(mesh: MeshState, wanted: Object, there: Object | None, *, reason: str) -> Step:
    """A peer whose addresses are not known; one that others have made has addresses of its own."""
    if there is not None and not objects.is_ours(there):
        return _step(mesh, wanted, there, details=())
    verb = Verb.CREATE if there is None else Verb.CHANGE
    return _named(mesh, wanted, verb=verb, details=(f"addresses: known after apply ({reason})",))


def _step(mesh: MeshState, wanted: Object, there: Object | None, *, details: tuple[str, ...]) -> Step:
    if there is None:
        return _named(mesh, wanted, verb=Verb.CREATE, details=details, object=wanted, whole=wanted)
    if not objects.is_ours(there):
        return _named(mesh, wanted, verb=Verb.KEEP, details=("made by someone else, and used as it is",))
    if contains(there, wanted):
        return _named(mesh, wanted, verb=Verb.KEEP, whole=wanted)
    content = [name for name in ("spec", "data") if name in wanted]
    changes = tuple(line for name in content for line in differences(there.get(name), wanted[name], name))
    return _named(mesh, wanted, verb=Verb.CHANGE, details=changes, object=wanted, whole=wanted)


def _named(mesh: MeshState, wanted: Object, *, verb: Verb, **more: Any) -> Step:
    name = wanted["metadata"]["name"]
    return Step(verb=verb, kind=wanted["kind"], name=name, namespace=mesh.namespace, mesh=mesh.name, **more)
