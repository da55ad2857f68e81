"""What the demonstration has seen, as one JSON object and as text for a person."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PeerReport:
    """One ServiceMeshPeer as kubectl gets it."""

    mesh: str
    peer: str
    status: dict[str, Any]

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
                "peers": [asdict(peer) for peer in self.peers],
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
    for mesh, other, kubeconfig in _pairs(report, kubeconfigs):
        lines += [
            f"  export KUBECONFIG={kubeconfig}",
            f"  kubectl -n {mesh}-system get servicemeshpeer {other} -o yaml",
            f"  kubectl -n {mesh}-system logs deploy/istiod-{mesh}",
            f"  kubectl -n {mesh}-system logs deploy/egress-{other}",
            f"  kubectl -n {mesh}-system logs deploy/ingress-{other}",
            "",
        ]
    return "\n".join(lines)


def _pairs(report: Report, kubeconfigs: Sequence[Path]) -> list[tuple[str, str, Path]]:
    by_mesh = dict(zip(report.meshes, kubeconfigs, strict=True))
    return [(peer.mesh, peer.peer, by_mesh[peer.mesh]) for peer in report.peers]
