"""What is wrong with a control plane: its name, its trust domain, its gateways. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from isthmus.api.controlplane import GATEWAY_NAME, Gateway
from isthmus.api.peer import DISCOVERY_PORT, SERVICE_PORT
from isthmus.doctor.lint.findings import Finding, Severity
from isthmus.doctor.lint.meshes import Mesh

LONGEST_MESH_NAME = 63 - len("istiod-")
SECTIONS = {"ingress": "additionalIngress", "egress": "additionalEgress"}


def gateways(mesh: Mesh, role: str) -> dict[str, Gateway]:
    """The gateways of a role, by name."""
    found = mesh.typed.spec.gateways if mesh.typed else None
    if found is None:
        return {}
    return found.additional_ingress if role == "ingress" else found.additional_egress


def control_plane_findings(meshes: Sequence[Mesh]) -> Iterator[Finding]:
    """Everything that is wrong with the control planes, alone and together."""
    for mesh in meshes:
        yield from _name(mesh)
        for role in SECTIONS:
            for name, gateway in gateways(mesh, role).items():
                yield from _gateway(mesh, role, name, gateway)
        yield from _unused(mesh)
    yield from _trust_domains(meshes)


def _name(mesh: Mesh) -> Iterator[Finding]:
    plane = mesh.control_plane
    if plane is None or (len(plane.name) <= LONGEST_MESH_NAME and re.fullmatch(GATEWAY_NAME, plane.name)):
        return
    message = f"{plane}: expected a DNS label of at most {LONGEST_MESH_NAME} characters"
    yield Finding(plane.where("metadata", "name"), Severity.ERROR, "InvalidName", message, "rename the mesh")


def _gateway(mesh: Mesh, role: str, name: str, gateway: Gateway) -> Iterator[Finding]:
    plane = mesh.control_plane
    if plane is None:
        return
    place = plane.where("spec", "gateways", SECTIONS[role], name)
    if not re.fullmatch(GATEWAY_NAME, name):
        yield Finding(place, Severity.ERROR, "InvalidName", f"gateway {name[:80]!r}: expected a DNS label", "rename it")
    if role == "egress" and name in gateways(mesh, "ingress"):
        message = f"gateway {name} is both an ingress and an egress"
        yield Finding(place, Severity.ERROR, "GatewayTwice", message, "rename one of them")
    if gateway.namespace not in {"", mesh.namespace}:
        message = f"gateway {name} is in namespace {gateway.namespace}: it does not work outside of {mesh.namespace}"
        yield Finding(place, Severity.ERROR, "GatewayElsewhere", message, "remove namespace")
    if role == "ingress" and gateway.enabled:
        for port in (DISCOVERY_PORT, SERVICE_PORT):
            if not reachable_ports(gateway, port):
                message = f"ingress gateway {name} has no port that leads to {port}: peers cannot reach it"
                yield Finding(place, Severity.ERROR, "MissingPort", message, f"add port {port} to service.ports")


def reachable_ports(gateway: Gateway, wanted: int) -> set[int]:
    """The numbers by which a port of the gateway's pods is reached from outside: of its Service, or of the nodes."""
    if not gateway.service.ports:
        return {wanted}
    leading = [each for each in gateway.service.ports if (each.target_port or each.port) == wanted]
    return {number for each in leading for number in (each.port, each.node_port) if number}


def _unused(mesh: Mesh) -> Iterator[Finding]:
    used = {
        name
        for peer in mesh.peers.values()
        for role in SECTIONS
        if (name := peer.node.text("spec", "gateways", role, "name"))
    }
    for role, section in SECTIONS.items():
        for name in gateways(mesh, role) if used else ():
            if name not in used and mesh.control_plane is not None:
                place = mesh.control_plane.where("spec", "gateways", section, name)
                yield Finding(place, Severity.INFO, "UnusedGateway", f"{role} gateway {name} serves no peer")


def _trust_domains(meshes: Sequence[Mesh]) -> Iterator[Finding]:
    by_domain: dict[str, list[Mesh]] = defaultdict(list)
    for mesh in meshes:
        if mesh.trust_domain:
            by_domain[mesh.trust_domain].append(mesh)
    for domain, sharing in by_domain.items():
        for mesh in sharing[1:]:
            if mesh.control_plane is not None:
                message = f"{mesh.name} has trust domain {domain}, as has {sharing[0].name}"
                place = mesh.control_plane.where("spec", "security", "trust", "domain")
                fix = "give each mesh its own, unless they have a common root"
                yield Finding(place, Severity.WARNING, "SharedTrustDomain", message, fix)
