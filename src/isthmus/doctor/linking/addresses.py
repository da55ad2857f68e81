"""Where an ingress gateway is reached from another mesh: from its Service, from the nodes, or as was said. Pure.

Source: docs/linking.md, "Addresses"; Kubernetes API, Service ``status.loadBalancer``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.api.peer import DISCOVERY_PORT, SERVICE_PORT
from isthmus.doctor.linking.state import MeshState, Object
from isthmus.doctor.objects import at


@dataclass(frozen=True, slots=True)
class Remote:
    """``spec.remote`` of a ServiceMeshPeer."""

    addresses: tuple[str, ...]
    discovery_port: int = DISCOVERY_PORT
    service_port: int = SERVICE_PORT

    def to_json(self) -> dict[str, Any]:
        """As the resource has it; a port that is the default is left out."""
        found: dict[str, Any] = {"addresses": list(self.addresses)}
        if self.discovery_port != DISCOVERY_PORT:
            found["discoveryPort"] = self.discovery_port
        if self.service_port != SERVICE_PORT:
            found["servicePort"] = self.service_port
        return found


@dataclass(frozen=True, slots=True)
class NotYet:
    """There is no address yet, and why."""

    reason: str


class Unreachable(Exception):  # noqa: N818 -- named after what is wrong
    """There will be no address however long one waits; the message says why and what to do."""


def remote(owner: MeshState, gateway: str, *, caller: MeshState, given: Sequence[str]) -> Remote | NotYet:
    """Where ``caller`` reaches the ingress gateway of ``owner``. given: addresses that the administrator has named.

    Raises Unreachable: the gateway's Service is for the inside of a cluster that the caller is not in.
    """
    where = f"Service {owner.namespace}/{gateway}"
    service = owner.services.get(gateway)
    if service is None:
        return Remote(tuple(given)) if given else NotYet(f"{where} does not exist yet")
    ports = _ports(service, "nodePort" if _is_reached_by_node_ports(service, given) else "port")
    if ports is None:
        return NotYet(f"{where} has no node ports yet")
    found = tuple(given) or _addresses(service, owner, caller)
    return Remote(found, *ports) if found else NotYet(f"{where} has no address yet")


def _is_reached_by_node_ports(service: Object, given: Sequence[str]) -> bool:
    """External addresses are answered at the Service's own ports, whatever its type."""
    spec = at(service, "spec")
    return spec.get("type") == "NodePort" and (bool(given) or not spec.get("externalIPs"))


def _addresses(service: Object, owner: MeshState, caller: MeshState) -> tuple[str, ...]:
    spec = at(service, "spec")
    if external := spec.get("externalIPs"):
        return tuple(sorted(external))
    match spec.get("type"):
        case "LoadBalancer":
            entries = at(service, "status", "loadBalancer").get("ingress") or ()
            return tuple(sorted({str(each.get("ip") or each.get("hostname") or "") for each in entries} - {""}))
        case "NodePort":
            return _node_addresses(owner.nodes)
    return _inside(service, owner, caller)


def _inside(service: Object, owner: MeshState, caller: MeshState) -> tuple[str, ...]:
    name = service["metadata"]["name"]
    if owner.server != caller.server:
        raise Unreachable(
            f"Service {owner.namespace}/{name} of {owner.name} is reached from inside of its cluster only, and"
            f" {caller.name} is in another: make it a LoadBalancer or NodePort in the ServiceMeshControlPlane, or say"
            f" where it is reached by --address {owner.name}=ADDRESS"
        )
    return (f"{name}.{owner.namespace}.svc.cluster.local",)


def _node_addresses(nodes: Sequence[Object]) -> tuple[str, ...]:
    """The addresses of the nodes that are ready, external ones if there are any."""
    ready = [node for node in nodes if _is_ready(node)]
    for kind in ("ExternalIP", "InternalIP"):
        found = {
            str(each["address"])
            for node in ready
            for each in at(node, "status").get("addresses") or ()
            if each.get("type") == kind
        }
        if found:
            return tuple(sorted(found))
    return ()


def _is_ready(node: Object) -> bool:
    conditions = at(node, "status").get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _ports(service: Object, field: str) -> tuple[int, int] | None:
    """The ports for discovery and for services; None if they have no such number yet."""
    found = [_port(service, wanted, field) for wanted in (DISCOVERY_PORT, SERVICE_PORT)]
    return (found[0], found[1]) if all(found) else None


def _port(service: Object, wanted: int, field: str) -> int:
    """The number by which the gateway's port ``wanted`` is reached; 0 if there is none."""
    ports = at(service, "spec").get("ports") or ()
    leading = [each for each in ports if each.get("targetPort", each.get("port")) == wanted]
    return int(leading[0].get(field) or 0) if leading else 0
