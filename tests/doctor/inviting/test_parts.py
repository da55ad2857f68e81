"""The small decisions of inviting and joining."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.federation.meshes import introduction

from isthmus.doctor.inviting import parse_lifetime
from isthmus.doctor.inviting.home import undone
from isthmus.doctor.inviting.joining import _clashes
from isthmus.doctor.linking.options import Options
from isthmus.doctor.linking.plan import control_plane_step
from isthmus.doctor.linking.state import MeshState


def mesh(spec: dict[str, Any], name: str = "green-mesh", **more: Any) -> MeshState:
    metadata = {"name": name, "namespace": f"{name}-system", "uid": "1"}
    control_plane = {
        "apiVersion": "maistra.io/v2",
        "kind": "ServiceMeshControlPlane",
        "metadata": metadata,
        "spec": spec,
    }
    return MeshState(context="", server="", control_plane=control_plane, **more)


RED = mesh({}, "red-mesh")


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [("90s", {"seconds": 90}), ("15m", {"minutes": 15}), ("2h", {"hours": 2}), ("7d", {"days": 7})],
)
def test_lifetimes(text: str, lifetime: dict[str, int]) -> None:
    """A number and a unit."""
    assert parse_lifetime(text) == timedelta(**lifetime)


@pytest.mark.parametrize("text", ["", "15", "m", "0s", "-1m", "1.5h", "8d", "15 m", "15m\n", "9999999s", "1w"])
def test_what_is_no_lifetime(text: str) -> None:
    """Neither nothing, nor for ever, nor in other words."""
    with pytest.raises(ValueError, match="expected"):
        parse_lifetime(text)


@pytest.mark.parametrize(
    ("spec", "patch"),
    [
        ({}, {"spec": {"gateways": None}}),
        (
            {"gateways": {"additionalIngress": {"other": {}}}},
            {"spec": {"gateways": {"additionalIngress": {"ingress-red-mesh": None}, "additionalEgress": None}}},
        ),
        (
            {"gateways": {"additionalIngress": {"ingress-red-mesh": {}}, "more": {}}},
            {"spec": {"gateways": {"additionalEgress": None}}},
        ),
    ],
    ids=["no gateways before", "others before", "one of them before"],
)
def test_gateways_are_taken_back(spec: dict[str, Any], patch: dict[str, Any]) -> None:
    """The control plane is left as it was, with what others have put there and without empty sections."""
    before = mesh(spec)
    assert undone(before, control_plane_step(before, [RED], Options())) == patch


def _peer(trust_domain: str) -> dict[str, Any]:
    return {"spec": {"security": {"trustDomain": trust_domain}}}


def test_what_an_inviter_must_not_touch() -> None:
    """Its trust domain is no other peer's, and roots that are there are not replaced."""
    red = introduction("red", "green")
    others = {"root-cert.pem": "other"}
    assert _clashes(red, mesh({}, peers={"blue-mesh": _peer("blue.local")})) == []
    (taken,) = _clashes(red, mesh({}, peers={"blue-mesh": _peer("red.local")}))
    assert "blue-mesh has the trust domain red.local" in taken
    (rooted,) = _clashes(red, mesh({}, config_maps={"red-mesh-ca-root-cert": {"data": others}}))
    assert "other roots" in rooted
    same = {"red-mesh-ca-root-cert": {"data": {"root-cert.pem": red.root}}}
    assert _clashes(msgspec.structs.replace(red), mesh({}, config_maps=same)) == []
