"""Meshes to plan with, and what a cluster does with what is written to it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from isthmus.doctor.linking.plan import Plan, Step, Verb
from isthmus.doctor.linking.state import SECTIONS, MeshState
from isthmus.identity import Authority, TrustDomain

Json = dict[str, Any]


@cache
def root(trust_domain: str, number: int = 0) -> str:
    """A root of the trust domain; the same one for the same number."""
    authority = Authority.self_signed(TrustDomain(trust_domain), now=datetime(2026, 1, 1, number, tzinfo=UTC))
    return authority.root_cert_pem.decode()


def mesh(name: str, *, trust_domain: str = "", cluster: str = "", spec: Json | None = None, **more: Any) -> MeshState:
    """A mesh in a cluster of its own, with nothing for any peer."""
    domain = trust_domain or f"{name}.local"
    control_plane = {
        "apiVersion": "maistra.io/v2",
        "kind": "ServiceMeshControlPlane",
        "metadata": {"name": name, "namespace": f"{name}-system", "resourceVersion": "7", "uid": f"uid-of-{name}"},
        "spec": {"version": "v2.6", "security": {"trust": {"domain": domain}}, **(spec or {})},
        "status": {"readiness": {}},
    }
    return MeshState(
        **{
            "context": name,
            "server": f"https://{cluster or name}:6443",
            "control_plane": control_plane,
            "root": root(domain),
            **more,
        }
    )


def others_peer(name: str, *, clientID: str = "", trustDomain: str = "", **spec: Any) -> Json:  # noqa: N803 -- as in YAML
    """A ServiceMeshPeer that someone has written by hand."""
    security = {
        "trustDomain": trustDomain or f"{name}.local",
        "clientID": clientID or f"{name}.local/ns/{name}-system/sa/egress-red-service-account",
    }
    gateways = {"ingress": {"name": f"ingress-{name}"}, "egress": {"name": f"egress-{name}"}}
    return {
        "metadata": {"name": name},
        "spec": {"remote": {"addresses": ["elsewhere"]}, "gateways": gateways, "security": security, **spec},
    }


def after(plan: Plan) -> list[MeshState]:
    """The meshes after the plan was carried out, and the clusters have done their part."""
    return [_after(each, [step for step in plan.steps if step.mesh == each.name]) for each in plan.meshes]


def _after(before: MeshState, steps: Sequence[Step]) -> MeshState:
    state = before
    for step in steps:
        match step.kind:
            case "ServiceMeshControlPlane":
                state = replace(state, control_plane=_written(state.control_plane, step))
            case "ServiceMeshPeer":
                state = replace(state, peers=_with(state.peers, step))
            case _:
                state = replace(state, config_maps=_with(state.config_maps, step))
    kept = {name: state.services[name] for name in state.gateways("ingress") if name in state.services}
    made = {name: service(name, entry) for name, entry in state.gateways("ingress").items() if name not in kept}
    return replace(state, services={**kept, **made})


def _with(objects: Mapping[str, Any], step: Step) -> dict[str, Any]:
    if step.verb is Verb.DELETE:
        return {name: obj for name, obj in objects.items() if name != step.name}
    return {**objects, step.name: copy.deepcopy(step.object)} if step.object is not None else dict(objects)


def _written(control_plane: Any, step: Step) -> Any:
    """The control plane after an apply (merged here; nothing is taken away) or a merge patch."""
    written = copy.deepcopy(dict(control_plane))
    if step.patch is not None:
        _merge(written, step.patch)
    elif step.object is not None:
        _merge(written, {"spec": step.object["spec"]})
    return written


def _merge(target: Json, patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = copy.deepcopy(value)


def service(name: str, entry: Mapping[str, Any] | None = None, **status: Any) -> Json:
    """The Service of an ingress gateway, as the operator makes it, with an address."""
    asked = (entry or {}).get("service") or {}
    ports = [
        {"name": "tls", "port": 15443, "targetPort": 15443, "nodePort": 30443},
        {"name": "https-discovery", "port": 8188, "targetPort": 8188, "nodePort": 30188},
    ]
    balancer = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1", "hostname": f"{name}.example.com"}]}}
    kind = asked.get("type", "LoadBalancer")
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": ports}, "status": status or balancer}


def gateways(state: MeshState) -> dict[str, list[str]]:
    """The names of a mesh's gateways, by role."""
    return {role: sorted(state.gateways(role)) for role in SECTIONS}
