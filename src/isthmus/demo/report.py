"""What the demonstration has seen, as one JSON object and as text for a person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PeerReport:
    """One ServiceMeshPeer as kubectl gets it; ``gateways`` are the Deployments through which it is reached."""

    mesh: str
    peer: str
    status: dict[str, Any]
    gateways: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"mesh": self.mesh, "peer": self.peer, "status": self.status}

    @property
    def is_active(self) -> bool:
        """Whether the watch stands, and the other side watches us."""
        active = (self.status.get("discoveryStatus") or {}).get("active") or []
        return any(
            pod.get("watch", {}).get("connected") and any(each.get("connected") for each in pod.get("remotes") or ())
            for pod in active
        )


@dataclass(frozen=True, slots=True)
class RequestReport:
    """One request of the client in one mesh, and who answered it; ``viaPeerIdentity`` is who the other mesh let in."""

    source: str
    url: str
    status: int
    served_by: str
    via_peer_identity: str

    def to_json(self) -> dict[str, Any]:
        return {
            "from": self.source,
            "url": self.url,
            "status": self.status,
            "servedBy": self.served_by,
            "viaPeerIdentity": self.via_peer_identity,
        }


@dataclass(slots=True)
class Report:
    """Filled in as the demonstration goes; ``timings_s`` are seconds since the clusters were started."""

    meshes: tuple[str, ...]
    peers: list[PeerReport] = field(default_factory=list)
    requests: list[RequestReport] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)

    @property
    def all_worked(self) -> bool:
        """Whether every peer is active in both directions, and every request was answered by the other mesh."""
        answered = [each for each in self.requests if each.status == 200 and each.served_by != each.source]
        admitted = all(each.via_peer_identity for each in self.requests)
        return bool(
            len(self.peers) == len(self.meshes) * (len(self.meshes) - 1)
            and all(peer.is_active for peer in self.peers)
            and answered
            and len(answered) == len(self.requests)
            and admitted
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "meshes": list(self.meshes),
                "peers": [peer.to_json() for peer in self.peers],
                "requests": [request.to_json() for request in self.requests],
                "timings_s": {name: round(seconds, 3) for name, seconds in self.timings_s.items()},
            }
        )


def summary(report: Report, kubeconfigs: Sequence[Path]) -> str:
    """What a person reads at the end: the state of the peers, and what to try next."""
    lines = [""]
    for peer in report.peers:
        state = "active in both directions" if peer.is_active else "NOT active"
        lines.append(f"{peer.mesh}: peer {peer.peer} is {state}")
    for request in report.requests:
        lines.append(f"{request.source}: GET {request.url}: {request.status}, served by {request.served_by}")
        lines.append(f"  let in by {request.served_by} as {request.via_peer_identity}")
    lines += ["", "What to try next, in another terminal:", ""]
    for mesh, kubeconfig in zip(report.meshes, kubeconfigs, strict=True):
        lines += [f"  export KUBECONFIG={kubeconfig}", *_commands(mesh, report.peers), ""]
    return "\n".join(lines)


def _commands(mesh: str, peers: Sequence[PeerReport]) -> list[str]:
    """What to look at in one mesh: its peers, and the logs of its control plane and of its gateways."""
    own = [peer for peer in peers if peer.mesh == mesh]
    gateways = dict.fromkeys(gateway for peer in own for gateway in peer.gateways)
    return [
        *(f"  kubectl -n {mesh}-system get servicemeshpeer {peer.peer} -o yaml" for peer in own),
        *(f"  kubectl -n {mesh}-system logs deploy/{name}" for name in (f"istiod-{mesh}", *gateways)),
    ]
