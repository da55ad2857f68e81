"""Whether a peer is ready, and if not, why. Pure.

The condition ``Ready`` says it; of a control plane that does not write one, the watches in both directions do.
"""

from collections.abc import Iterator
from typing import Any

from isthmus.doctor.linking.state import Object
from isthmus.doctor.objects import at


def not_ready(peer: Object) -> str:
    """Why a ServiceMeshPeer is not ready, in words; empty if it is."""
    conditions = {each.get("type"): each for each in at(peer, "status").get("conditions") or ()}
    if ready := conditions.get("Ready"):
        return _by_condition(ready, generation=int(at(peer, "metadata").get("generation") or 0))
    if (accepted := conditions.get("Accepted")) and accepted.get("status") == "False":
        return str(accepted.get("message"))
    return _by_watches(peer)


def _by_condition(ready: Object, *, generation: int) -> str:
    if int(ready.get("observedGeneration") or generation) < generation:
        return "its control plane has not looked at the change yet"
    if ready.get("status") == "True":
        return ""
    return f"{ready.get('reason', 'unknown')}: {ready.get('message', '')}"


def _by_watches(peer: Object) -> str:
    pods = list(_pods(peer, "active"))
    if any(each.get("connected") for pod in pods for each in pod.get("remotes") or ()):
        return ""
    if pods:
        return "the peer has not connected to us yet"
    causes = [at(pod, "watch").get("lastDisconnectStatus") for pod in _pods(peer, "inactive")]
    return str(next(filter(None, causes), "not connected yet"))


def _pods(peer: Object, state: str) -> Iterator[Any]:
    yield from at(peer, "status", "discoveryStatus").get(state) or ()
