"""What a link is made of, and how it is known again: a label says that we made it, a digest that nobody changed it.

Source: docs/linking.md, "What it makes".
"""

from collections.abc import Mapping
from typing import Any

from isthmus.api.peer import DISCOVERY_PORT, SERVICE_PORT
from isthmus.doctor.linking.addresses import Remote
from isthmus.doctor.linking.state import ROOT_KEY, MeshState, Object
from isthmus.doctor.objects import at
from isthmus.federation.marks import DIGEST, LABEL, digest

Json = dict[str, Any]


def gateway(role: str, name: str, *, peer: str, service_type: str) -> Json:
    """The entry of a ServiceMeshControlPlane for one gateway; ``service_type`` is that of an ingress."""
    discovery = "https-discovery" if role == "ingress" else "http-discovery"
    service: Json = {
        "metadata": {"labels": {f"federation.maistra.io/{role}-for": name, LABEL: peer}},
        "ports": [{"port": SERVICE_PORT, "name": "tls"}, {"port": DISCOVERY_PORT, "name": discovery}],
    }
    made: Json = {"enabled": True, "service": service}
    if role == "ingress":
        service["type"] = service_type
    else:
        made["requestedNetworkView"] = [f"network-{peer}"]
    service["metadata"]["annotations"] = {DIGEST: digest(made)}
    return made


def root_config_map(mesh: MeshState, *, name: str, peer: str, root: str) -> Json:
    """The ConfigMap with the root of a peer."""
    return _object("v1", "ConfigMap", name, mesh=mesh, peer=peer, content={"data": {ROOT_KEY: root}})


def service_mesh_peer(
    mesh: MeshState, peer: MeshState, *, gateways: Mapping[str, str], client: str, roots: str, remote: Remote | None
) -> Json:
    """The ServiceMeshPeer for ``peer``. remote: None while it is not known; such an object is not to be written.

    gateways: the names of our gateways for it, by role. client: the gateway that it calls us through. roots: the
    name of the ConfigMap with its roots.
    """
    security = {
        "trustDomain": peer.trust_domain,
        "clientID": f"{peer.trust_domain}/ns/{peer.namespace}/sa/{client}-service-account",
        "certificateChain": {"kind": "ConfigMap", "name": roots},
    }
    named = {role: {"name": name} for role, name in sorted(gateways.items())}
    spec = {"remote": remote.to_json() if remote else {}, "gateways": named, "security": security}
    content = {"spec": spec}
    group = "federation.maistra.io/v1"
    return _object(group, "ServiceMeshPeer", peer.name, mesh=mesh, peer=peer.name, content=content)


def _object(api_version: str, kind: str, name: str, *, mesh: MeshState, peer: str, content: Json) -> Json:
    metadata = {
        "name": name,
        "namespace": mesh.namespace,
        "labels": {LABEL: peer},
        "annotations": {DIGEST: digest(content)},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def is_ours(obj: Object) -> bool:
    """Whether a link has made the object."""
    return LABEL in at(obj, "metadata", "labels")


def is_untouched(obj: Object) -> bool:
    """Whether the object is as a link has made it. A field that an API server fills in counts as a change."""
    content = {name: obj[name] for name in ("spec", "data", "binaryData") if obj.get(name)}
    return at(obj, "metadata", "annotations").get(DIGEST) == digest(content)


def gateway_owner(entry: Object) -> str:
    """The peer for which a link has made a gateway; empty if someone else made it."""
    return str(at(entry, "service", "metadata", "labels").get(LABEL, ""))


def is_untouched_gateway(entry: Object) -> bool:
    """Whether an entry for a gateway is as a link has made it."""
    annotations = dict(at(entry, "service", "metadata", "annotations"))
    said = annotations.pop(DIGEST, None)
    service = dict(entry.get("service") or {})
    metadata = {name: value for name, value in at(service, "metadata").items() if name != "annotations"}
    service["metadata"] = {**metadata, "annotations": annotations} if annotations else metadata
    return bool(said == digest({**entry, "service": service}))
