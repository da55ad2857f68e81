"""What keeps meshes from being linked, found before anything is written. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

from isthmus.api.meta import DNS_LABEL
from isthmus.doctor.linking.names import gateway_name, root_name
from isthmus.doctor.linking.objects import gateway_owner, is_ours
from isthmus.doctor.linking.state import ROOT_CONFIG_MAP, ROOT_KEY, SECTIONS, MeshState, Object
from isthmus.doctor.objects import at
from isthmus.identity import IdentityError, TrustBundle, TrustDomain


def problems(meshes: Sequence[MeshState]) -> list[str]:
    """Everything that is wrong, each with what to do about it; nothing if the list is empty."""
    found = [*_names(meshes)]
    if not found:  # what follows tells meshes apart by their names
        roots = {mesh.name: _roots(mesh) for mesh in meshes}
        found += [roots[mesh.name] for mesh in meshes if isinstance(roots[mesh.name], str)]  # type: ignore[misc]  # str
        bundles = {name: each for name, each in roots.items() if isinstance(each, TrustBundle)}
        found += _trust_domains(meshes, bundles)
        for mesh, peer in permutations(meshes, 2):
            found += gateway_problems(mesh, peer)
            found += _config_map(mesh, peer, bundles.get(peer.name))
            found += _peer(mesh, peer)
    return found


def _names(meshes: Sequence[MeshState]) -> Iterator[str]:
    if len(meshes) < 2:
        yield f"{len(meshes)} mesh given: expected two at least"
    for name, count in Counter(mesh.name for mesh in meshes).items():
        if count > 1:
            yield f"{count} meshes are called {name}: each needs a name of its own, by which the others know it"
        if not re.fullmatch(DNS_LABEL, name):
            yield f"mesh {name!r}: expected a name that is a DNS label, since names of services are made of it"


def _roots(mesh: MeshState) -> TrustBundle | str:
    where = f"ConfigMap {mesh.namespace}/{ROOT_CONFIG_MAP} of {mesh.name}"
    if not mesh.root:
        return f"{where} has no {ROOT_KEY} yet: its control plane writes it; wait until the mesh is ready"
    try:
        return TrustBundle.parse(TrustDomain(mesh.trust_domain), mesh.root)
    except IdentityError as error:
        return f"{where}: {error}"


def _trust_domains(meshes: Sequence[MeshState], bundles: Mapping[str, TrustBundle]) -> Iterator[str]:
    """One trust domain is one authority: with two of them, neither mesh could tell who is of which."""
    for one, other in combinations(meshes, 2):
        first, second = bundles.get(one.name), bundles.get(other.name)
        common = [each for each in one.trust_domains if each in other.trust_domains]
        if not common or first is None or second is None:
            continue
        if set(first.fingerprints()).isdisjoint(second.fingerprints()):
            yield (
                f"{one.name} and {other.name} are both of trust domain {common[0]}, but have different roots: change"
                " spec.security.trust in the ServiceMeshControlPlane of one of them (domain, or additionalDomains)"
            )


def gateway_problems(mesh: MeshState, peer: MeshState) -> Iterator[str]:
    """Why ``mesh`` cannot have gateways for ``peer``; of the latter only the name counts."""
    for role in SECTIONS:
        name = gateway_name(role, owner=mesh, peer=peer.name)
        where = f"ServiceMeshControlPlane {mesh.namespace}/{mesh.name}, gateway {name}"
        if not re.fullmatch(DNS_LABEL, name):
            yield f"{where}: longer than 63 characters; give mesh {peer.name} a shorter name"
        for section in mesh.other_roles_with(name, role):
            yield f"{where}: {section} has a gateway of that name already; rename that one"
        entry = mesh.gateways(role).get(name)
        if entry is not None and not gateway_owner(entry):
            yield from (f"{where} was made by someone else, and {why}" for why in _unusable(entry, mesh))


def _unusable(entry: Mapping[str, Any], mesh: MeshState) -> Iterator[str]:
    if entry.get("enabled") is False:
        yield "is not enabled: enable it, or rename it"
    if entry.get("namespace") not in {None, "", mesh.namespace}:
        yield f"is in namespace {entry['namespace']}: expected {mesh.namespace}; rename it"


def _config_map(mesh: MeshState, peer: MeshState, roots: TrustBundle | None) -> Iterator[str]:
    name = root_name(mesh, peer.name)
    there = mesh.config_maps.get(name)
    if there is None or is_ours(there) or roots is None:
        return
    where = f"ConfigMap {mesh.namespace}/{name} of {mesh.name} was made by someone else, and"
    try:
        bundle = TrustBundle.parse(roots.trust_domain, str(at(there, "data").get(ROOT_KEY, "")))
    except IdentityError as error:
        yield f"{where} has no usable {ROOT_KEY}: {error}; delete or correct it"
        return
    if not set(roots.fingerprints()) <= set(bundle.fingerprints()):
        yield f"{where} does not have the root of {peer.name}, SHA-256 {roots.fingerprints()[0]}: delete it, or add it"


def _peer(mesh: MeshState, peer: MeshState) -> Iterator[str]:
    there = mesh.peers.get(peer.name)
    where = f"ServiceMeshPeer {mesh.namespace}/{peer.name} of {mesh.name}"
    if there is not None and not is_ours(there):
        yield from (f"{where} was made by someone else, and has {why}" for why in _other_identity(there, mesh, peer))
    for name, other in mesh.peers.items():
        if name != peer.name and _is_of(other, peer):
            yield (
                f"{where} would be the second for the same mesh: ServiceMeshPeer {name} has clientID"
                f" {_client(other)}; delete that one"
            )


def _other_identity(there: Object, mesh: MeshState, peer: MeshState) -> Iterator[str]:
    security = at(there, "spec", "security")
    egress = gateway_name("egress", owner=peer, peer=mesh.name)
    expected = {
        "trustDomain": peer.trust_domain,
        "clientID": f"{peer.trust_domain}/ns/{peer.namespace}/sa/{egress}-service-account",
    }
    for field, value in expected.items():
        if security.get(field) != value:
            found = security.get(field)
            yield f"spec.security.{field} {found}, but that of {peer.name} is {value}: correct or delete it"


def _is_of(other: Object, peer: MeshState) -> bool:
    return _client(other).startswith(f"{peer.trust_domain}/ns/{peer.namespace}/sa/")


def _client(obj: Object) -> str:
    return str(at(obj, "spec", "security").get("clientID", ""))
