"""What a link has made is taken away, and nothing else."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doctor.linking.meshes import after, gateways, mesh, others_peer, service
from tests.doctor.linking.test_plan import linked, step

from isthmus.doctor.linking.options import Options
from isthmus.doctor.linking.plan import Verb, plan_link
from isthmus.doctor.linking.state import MeshState
from isthmus.doctor.linking.text import plan_text, summary
from isthmus.doctor.linking.undo import plan_unlink

NAMES = ["red", "green", "blue"]
OTHER_GATEWAY = {"gateways": {"additionalIngress": {"theirs": {"enabled": True}}, "egress": {"enabled": False}}}


def editable(red: MeshState) -> tuple[MeshState, Any]:
    """A mesh of which the peer green may be changed in place."""
    peer = copy.deepcopy(dict(red.peers["green"]))
    return replace(red, peers={**red.peers, "green": peer}), peer


@given(st.lists(st.sampled_from(["bare", "gateways", "peer"]), min_size=3, max_size=3), st.permutations(NAMES))
@settings(max_examples=60)
def test_unlinking_undoes_linking(starts: list[str], order: list[str]) -> None:
    """Whatever was there before is there after, to the letter, in whatever order the meshes were named."""
    spec: dict[str, Any] = {"bare": {}, "gateways": OTHER_GATEWAY, "peer": {}}
    before = [mesh(name, spec=spec[start]) for name, start in zip(NAMES, starts, strict=True)]
    before = [
        replace(each, peers={"far": others_peer("far")}) if start == "peer" else each
        for each, start in zip(before, starts, strict=True)
    ]
    by_name = {each.name: each for each in before}
    meshes = [by_name[name] for name in order]
    for _ in range(2):
        meshes = after(plan_link(meshes, Options()))
    undone = after(plan_unlink(meshes, order))
    expected = [by_name[name] for name in order]
    assert [each.control_plane for each in undone] == [each.control_plane for each in expected]
    assert [each.peers for each in undone] == [each.peers for each in expected]
    assert [each.config_maps for each in undone] == [each.config_maps for each in expected]


def test_of_three_two_are_unlinked() -> None:
    """The links with the third stay, and still need nothing."""
    meshes = linked(*NAMES)
    red, green = after(plan_unlink(meshes[:2], ["red", "green"]))
    assert gateways(red) == {"ingress": ["ingress-blue"], "egress": ["egress-blue"]}
    assert list(red.peers) == ["blue"]
    assert plan_link([red, meshes[2]], Options()).is_done
    assert not plan_unlink([red, green], ["red", "green"]).steps
    assert summary(plan_unlink([red, green], ["red", "green"])) == "Nothing to do"


def test_a_mesh_that_is_gone_is_forgotten_by_the_others() -> None:
    """Its own side cannot be read; ours is undone by its name."""
    red = linked("red", "green")[0]
    plan = plan_unlink([red], ["red", "green"])
    assert [each.mesh for each in plan.steps] == ["red"] * 3
    assert not after(plan)[0].peers


def test_a_peer_that_was_changed_stays_with_all_that_it_needs() -> None:
    """It is the administrator's now: so are its gateways and its root."""
    (red, peer), green = editable(linked("red", "green")[0]), linked("red", "green")[1]
    peer["spec"]["remote"]["addresses"] = ["elsewhere"]
    plan = plan_unlink([red, green], ["red", "green"])
    assert {each.verb for each in plan.steps if each.mesh == "red"} == {Verb.KEEP}
    assert "changed since it was made" in step(plan, "red", "ServiceMeshPeer", "green").details[0]
    assert plan_text(plan).count("ServiceMeshPeer green uses it: left alone") == 3
    assert not after(plan)[1].peers


def test_a_gateway_that_was_changed_stays() -> None:
    """The rest of the link goes."""
    red = linked("red", "green")[0]
    control_plane = copy.deepcopy(dict(red.control_plane))
    control_plane["spec"]["gateways"]["additionalIngress"]["ingress-green"]["runtime"] = {"deployment": {"replicas": 2}}
    undone = after(plan_unlink([replace(red, control_plane=control_plane)], ["red", "green"]))[0]
    assert gateways(undone) == {"ingress": ["ingress-green"], "egress": []}
    assert not undone.peers


def test_a_gateway_that_another_peer_uses_stays() -> None:
    """So does a root, and the plan says which peer it is."""
    red = linked("red", "green")[0]
    shared = {"ingress": {"name": "ingress-green"}, "egress": {"name": "egress-far"}}
    far = others_peer("far", gateways=shared)
    far["spec"]["security"]["certificateChain"] = {"name": "green-ca-root-cert"}
    plan = plan_unlink([replace(red, peers={**red.peers, "far": far})], ["red", "green"])
    undone = after(plan)[0]
    assert gateways(undone) == {"ingress": ["ingress-green"], "egress": []}
    assert list(undone.config_maps) == ["green-ca-root-cert"]
    assert "spec.gateways.additionalIngress.ingress-green: ServiceMeshPeer far uses it: left alone" in plan_text(plan)


def test_what_others_have_made_is_left_alone() -> None:
    """Objects without our label are not ours, whatever their names."""
    red = mesh(
        "red",
        spec={"gateways": {"additionalIngress": {"ingress-green": {}}}},
        peers={"green": others_peer("green")},
        config_maps={"green-ca-root-cert": {"metadata": {}, "data": {}}},
        services={"ingress-green": service("ingress-green")},
    )
    plan = plan_unlink([red], ["red", "green"])
    assert plan.is_done
    assert [each.details for each in plan.steps] == [("made by someone else: left alone",)] * 2


@pytest.mark.parametrize("field", ["labels", "managedFields", "resourceVersion", "uid"])
def test_metadata_and_status_are_no_change(field: str) -> None:
    """What a server writes, and labels that someone adds, do not make an object someone else's."""
    red, peer = editable(linked("red", "green")[0])
    peer["metadata"][field] = {**peer["metadata"].get("labels", {}), "team": "a"} if field == "labels" else "x"
    peer["status"] = {"conditions": []}
    assert step(plan_unlink([red], ["red", "green"]), "red", "ServiceMeshPeer", "green").verb is Verb.DELETE
