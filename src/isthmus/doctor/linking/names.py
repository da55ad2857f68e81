"""What the parts of a link are called: as someone who was here first has called them, else by our own rule. Pure."""

from isthmus.doctor.linking.objects import is_ours
from isthmus.doctor.linking.state import MeshState
from isthmus.doctor.objects import at


def gateway_name(role: str, *, owner: MeshState, peer: str) -> str:
    """The gateway of ``owner`` for its peer: the one that a ServiceMeshPeer made by someone else names, or ours."""
    there = owner.peers.get(peer)
    if there is not None and not is_ours(there):
        return str(at(there, "spec", "gateways", role).get("name") or f"{role}-{peer}")
    return f"{role}-{peer}"


def root_name(owner: MeshState, peer: str) -> str:
    """The ConfigMap of ``owner`` with the roots of its peer, likewise."""
    there = owner.peers.get(peer)
    own = f"{peer}-ca-root-cert"
    if there is not None and not is_ours(there):
        return str(at(there, "spec", "security", "certificateChain").get("name") or own)
    return own
