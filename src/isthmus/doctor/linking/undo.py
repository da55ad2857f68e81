"""What is to be written so that meshes are no longer linked: what a link has made, and nothing else. Pure.

What someone has changed since is theirs and stays, with all that it needs. So does a gateway that another peer uses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.doctor.linking.names import root_name
from isthmus.doctor.linking.objects import gateway_owner, is_ours, is_untouched, is_untouched_gateway
from isthmus.doctor.linking.plan import Plan, Step, Verb
from isthmus.doctor.linking.state import SECTIONS, MeshState, Object
from isthmus.doctor.objects import at

EDITED = "changed since it was made: left alone; delete it yourself if you no longer want it"
OTHERS = "made by someone else: left alone"


def plan_unlink(meshes: Sequence[MeshState], names: Sequence[str]) -> Plan:
    """What undoes the links between the meshes of these names; ``meshes`` are those of them that can be reached."""
    steps: list[Step] = []
    for mesh in meshes:
        others = [name for name in names if name != mesh.name]
        peers = [step for name in others if (step := _object_step(mesh, name, mesh.peers.get(name), "ServiceMeshPeer"))]
        gone = {step.name for step in peers if step.verb is Verb.DELETE}
        used = _Used.by({name: peer for name, peer in mesh.peers.items() if name not in gone})
        roots = [step for name in others if (step := _root_step(mesh, name, used))]
        steps += [*peers, *_control_plane(mesh, others, used), *roots]
    return Plan(tuple(meshes), tuple(steps))


@dataclass(frozen=True, slots=True)
class _Used:
    """What the peers that stay need: names of peers by gateway and by ConfigMap."""

    gateways: Mapping[str, str]
    config_maps: Mapping[str, str]

    @classmethod
    def by(cls, peers: Mapping[str, Object]) -> "_Used":
        gateways = {
            str(at(peer, "spec", "gateways", role).get("name")): name
            for name, peer in peers.items()
            for role in SECTIONS
        }
        config_maps = {
            str(at(peer, "spec", "security", "certificateChain").get("name") or f"{name}-ca-root-cert"): name
            for name, peer in peers.items()
        }
        return cls(gateways, config_maps)


def _root_step(mesh: MeshState, peer: str, used: _Used) -> Step | None:
    name = root_name(mesh, peer)
    step = _object_step(mesh, name, mesh.config_maps.get(name), "ConfigMap")
    if step is not None and step.verb is Verb.DELETE and name in used.config_maps:
        return _step(
            mesh, Verb.KEEP, "ConfigMap", name, f"ServiceMeshPeer {used.config_maps[name]} uses it: left alone"
        )
    return step


def _object_step(mesh: MeshState, name: str, there: Object | None, kind: str) -> Step | None:
    """What becomes of an object of that name; None if there is none."""
    if there is None:
        return None
    if not is_ours(there):
        return _step(mesh, Verb.KEEP, kind, name, OTHERS)
    if not is_untouched(there):
        return _step(mesh, Verb.KEEP, kind, name, EDITED)
    return _step(mesh, Verb.DELETE, kind, name)


def _step(mesh: MeshState, verb: Verb, kind: str, name: str, *details: str) -> Step:
    return Step(verb=verb, kind=kind, name=name, namespace=mesh.namespace, mesh=mesh.name, details=details)


def _control_plane(mesh: MeshState, peers: Sequence[str], used: _Used) -> Iterator[Step]:
    """A merge patch that takes away the gateways for these peers, and the sections that become empty."""
    left: list[str] = []
    gone: dict[str, list[str]] = {}
    for role, section in SECTIONS.items():
        for name, entry in mesh.gateways(role).items():
            if gateway_owner(entry) in peers and _is_ours_to_take(name, entry, section, used=used, left=left):
                gone.setdefault(role, []).append(name)
    if gone:
        taken = [f"- spec.gateways.{SECTIONS[role]}.{name}" for role, names in gone.items() for name in names]
        details = (*taken, *(f"= {line}" for line in left))
        step = _step(mesh, Verb.CHANGE, "ServiceMeshControlPlane", mesh.name, *details)
        yield replace(step, patch={"spec": {"gateways": _without(mesh, gone)}})
    elif left:
        yield _step(mesh, Verb.KEEP, "ServiceMeshControlPlane", mesh.name, *(f"= {line}" for line in left))


def _is_ours_to_take(name: str, entry: Object, section: str, *, used: _Used, left: list[str]) -> bool:
    path = f"spec.gateways.{section}.{name}"
    if name in used.gateways:
        left.append(f"{path}: ServiceMeshPeer {used.gateways[name]} uses it: left alone")
    elif not is_untouched_gateway(entry):
        left.append(f"{path}: {EDITED}")
    else:
        return True
    return False


def _without(mesh: MeshState, gone: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """The merge patch of ``spec.gateways``: null for what goes, also for sections of which nothing is left."""
    sections: dict[str, Any] = {
        SECTIONS[role]: None if len(names) == len(mesh.gateways(role)) else dict.fromkeys(names)
        for role, names in gone.items()
    }
    there = {name for name, value in at(mesh.control_plane, "spec", "gateways").items() if value}
    return None if there == {name for name, value in sections.items() if value is None} else sections
