"""From what there is to what links it."""

from dataclasses import replace
from typing import Any

import pytest
from tests.doctor.linking.meshes import Json, after, gateways, mesh, others_peer, root, service

from isthmus.doctor.linking.errors import LinkError
from isthmus.doctor.linking.options import Options
from isthmus.doctor.linking.plan import Plan, Step, Verb, plan_link
from isthmus.doctor.linking.state import MeshState
from isthmus.doctor.linking.text import plan_text, summary

RED_AND_GREEN = """\
red (context red, namespace red-system)
  ~ ServiceMeshControlPlane red
      + spec.gateways.additionalIngress.ingress-green
      + spec.gateways.additionalEgress.egress-green
  + ConfigMap green-ca-root-cert
  + ServiceMeshPeer green
      addresses: known after apply (Service green-system/ingress-red does not exist yet)
green (context green, namespace green-system)
  ~ ServiceMeshControlPlane green
      + spec.gateways.additionalIngress.ingress-red
      + spec.gateways.additionalEgress.egress-red
  + ConfigMap red-ca-root-cert
  + ServiceMeshPeer red
      addresses: known after apply (Service red-system/ingress-green does not exist yet)"""


def linked(*names: str, options: Options = Options()) -> list[MeshState]:  # noqa: B008 -- frozen
    """Meshes after everything was carried out."""
    meshes = after(plan_link([mesh(name) for name in names], options))
    return after(plan_link(meshes, options))


def step(plan: Plan, mesh: str, kind: str, name: str) -> Step:
    (found,) = [each for each in plan.steps if (each.mesh, each.kind, each.name) == (mesh, kind, name)]
    return found


def wrong(*meshes: MeshState) -> str:
    """Why these meshes cannot be linked."""
    with pytest.raises(LinkError) as error:
        plan_link(meshes, Options())
    return "\n".join(error.value.problems)


def test_two_empty_meshes_need_everything() -> None:
    """Gateways, roots and peers; a peer's address is known when the other's gateway has one."""
    plan = plan_link([mesh("red"), mesh("green")], Options())
    assert plan_text(plan) == RED_AND_GREEN
    assert summary(plan) == "4 to create, 2 to change"
    assert [each.name for each in plan.steps if each.is_open] == ["green", "red"]


def test_the_second_plan_has_the_addresses() -> None:
    """Once the gateways are there, the peers are complete, and nothing else is left to do."""
    meshes = after(plan_link([mesh("red"), mesh("green")], Options()))
    plan = plan_link(meshes, Options())
    assert [(each.verb, each.kind) for each in plan.steps if each.verb is not Verb.KEEP] == [
        (Verb.CREATE, "ServiceMeshPeer")
    ] * 2
    peer = step(plan, "red", "ServiceMeshPeer", "green").object
    assert peer is not None
    assert peer["spec"] == {
        "remote": {"addresses": ["10.0.0.1"]},
        "gateways": {"egress": {"name": "egress-green"}, "ingress": {"name": "ingress-green"}},
        "security": {
            "trustDomain": "green.local",
            "clientID": "green.local/ns/green-system/sa/egress-red-service-account",
            "certificateChain": {"kind": "ConfigMap", "name": "green-ca-root-cert"},
        },
    }


@pytest.mark.parametrize("count", [2, 3, 5])
def test_what_is_linked_stays_as_it_is(count: int) -> None:
    """Of n linked meshes each has n-1 peers, and another plan has nothing to do."""
    meshes = linked(*(f"mesh{number}" for number in range(count)))
    plan = plan_link(meshes, Options())
    assert sum(len(each.peers) for each in meshes) == count * (count - 1)
    assert plan.is_done
    assert summary(plan) == f"Nothing to do: {count + 2 * count * (count - 1)} as is"


def test_a_third_mesh_leaves_the_first_link_alone() -> None:
    """What is applied to a control plane has the gateways of earlier links: left out, they would be taken away."""
    plan = plan_link([*linked("red", "green")[:1], mesh("blue")], Options())
    applied = step(plan, "red", "ServiceMeshControlPlane", "red").object
    assert applied is not None
    assert set(applied["spec"]["gateways"]["additionalIngress"]) == {"ingress-green", "ingress-blue"}
    assert [each.name for each in plan.steps if each.mesh == "red"] == ["red", "blue-ca-root-cert", "blue"]


def test_the_gateways_of_others_are_neither_applied_nor_changed() -> None:
    """A gateway of the right name that someone has made is used, whatever its ports and type."""
    entry = {"service": {"type": "NodePort"}}
    red = mesh("red", spec={"gateways": {"additionalIngress": {"ingress-green": entry, "other": {}}}})
    plan = plan_link([red, mesh("green")], Options())
    applied = step(plan, "red", "ServiceMeshControlPlane", "red").object
    assert applied is not None
    assert applied["spec"]["gateways"]["additionalIngress"] == {}
    assert applied["metadata"] == {"name": "red", "namespace": "red-system", "uid": "uid-of-red"}
    assert list(applied["spec"]) == ["gateways"]


def test_a_peer_that_others_have_made_names_the_gateways() -> None:
    """Their gateways are the ones that the other side is told of, and their peer is left as it is."""
    ours = {"ingress": {"name": "shared-ingress"}, "egress": {"name": "shared-egress"}}
    red = mesh("red", peers={"green": others_peer("green", gateways=ours)}, services={"shared-ingress": service("s")})
    plan = plan_link([red, mesh("green")], Options())
    assert step(plan, "red", "ServiceMeshPeer", "green").details == ("made by someone else, and used as it is",)
    their_peer = step(plan, "green", "ServiceMeshPeer", "red").object
    assert their_peer is not None
    assert their_peer["spec"]["security"]["clientID"] == "red.local/ns/red-system/sa/shared-egress-service-account"
    assert "+ spec.gateways.additionalIngress.shared-ingress" in plan_text(plan)


def test_what_someone_changed_of_ours_is_shown_and_changed_back() -> None:
    """The plan has the value that is there and the one that is wanted."""
    red, green = linked("red", "green")
    peer: Any = red.peers["green"]
    peer["spec"]["remote"]["addresses"] = ["elsewhere"]
    entry: Any = red.gateways("ingress")["ingress-green"]
    entry["enabled"] = False
    plan = plan_link([red, green], Options())
    assert step(plan, "red", "ServiceMeshPeer", "green").details == (
        'spec.remote.addresses: ["elsewhere"] -> ["10.0.0.1"]',
    )
    assert step(plan, "red", "ServiceMeshControlPlane", "red").details == (
        "~ spec.gateways.additionalIngress.ingress-green.enabled: false -> true",
    )


def test_a_new_root_is_given_to_the_peers() -> None:
    """The ConfigMap changes, and is shown by digests rather than by certificates."""
    red, green = linked("red", "green")
    plan = plan_link([red, replace(green, root=root("green.local", 1))], Options())
    changed = [each for each in plan.steps if each.verb is not Verb.KEEP]
    assert [(each.verb, each.name) for each in changed] == [(Verb.CHANGE, "green-ca-root-cert")]
    assert "SHA-256" in changed[0].details[0]
    assert "BEGIN" not in changed[0].details[0]


def test_a_node_port_stays_one() -> None:
    """Without a wish, gateways that we have made keep their type; with one, they get it."""
    meshes = linked("red", "green", options=Options(service_type="NodePort"))
    kept = plan_link(meshes, Options())
    assert not [each for each in kept.steps if each.kind == "ServiceMeshControlPlane" and each.verb is not Verb.KEEP]
    plan = plan_link(meshes, Options(service_type="LoadBalancer"))
    path = "spec.gateways.additionalIngress.ingress-green.service"
    assert f"~ {path}.type: NodePort -> LoadBalancer" in step(plan, "red", "ServiceMeshControlPlane", "red").details


def test_given_addresses_need_no_gateway() -> None:
    """With addresses that were named, the peers are complete from the start; the closer name wins."""
    given = {("green", ""): ("green.example.com",), ("red", ""): ("wide",), ("red", "green"): ("close",)}
    plan = plan_link([mesh("red"), mesh("green")], Options(addresses=given))
    assert not [each for each in plan.steps if each.is_open]
    assert "addresses: green.example.com" in plan_text(plan)
    assert "addresses: close" in plan_text(plan)


def test_the_whole_control_plane_is_for_a_file() -> None:
    """It has all of the spec, and nothing that a server or kubectl has filled in."""
    red = mesh("red", spec={"policy": {"type": "none"}})
    metadata: Any = red.control_plane["metadata"]
    metadata["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"}
    metadata["managedFields"] = []
    whole = step(plan_link([red, mesh("green")], Options()), "red", "ServiceMeshControlPlane", "red").whole
    assert whole is not None
    assert set(whole) == {"apiVersion", "kind", "metadata", "spec"}
    assert whole["metadata"] == {"name": "red", "namespace": "red-system", "annotations": {"team": "a"}}
    assert set(whole["spec"]) == {"version", "security", "gateways", "policy"}
    assert list(whole["spec"]["gateways"]["additionalEgress"]) == ["egress-green"]


def with_gateway(section: str, name: str, **entry: Any) -> MeshState:
    return mesh("red", spec={"gateways": {section: {name: entry}}})


WRONG = [
    ("one mesh", [mesh("red")], "expected two at least"),
    ("one name", [mesh("red"), mesh("red", cluster="b")], "2 meshes are called red"),
    ("no label", [mesh("red.x"), mesh("green")], "expected a name that is a DNS label"),
    ("no root yet", [mesh("red"), mesh("green", root="")], "ConfigMap green-system/istio-ca-root-cert of green has no"),
    ("bad root", [mesh("red"), mesh("green", root="x")], "not PEM"),
    (
        "one trust domain, two roots",
        [mesh("red", trust_domain="a.b"), mesh("green", trust_domain="a.b", root=root("a.b", 1))],
        "red and green are both of trust domain a.b, but have different roots",
    ),
    (
        "an alias that is another's trust domain",
        [
            mesh("red", spec={"security": {"trust": {"domain": "red.local", "additionalDomains": ["green.local"]}}}),
            mesh("green"),
        ],
        "red and green are both of trust domain green.local, but have different roots",
    ),
    ("long name", [mesh("red"), mesh("g" * 60)], "longer than 63 characters"),
    (
        "other role",
        [with_gateway("additionalEgress", "ingress-green"), mesh("green")],
        "additionalEgress has a gateway of that name already",
    ),
    (
        "disabled gateway",
        [with_gateway("additionalIngress", "ingress-green", enabled=False), mesh("green")],
        "made by someone else, and is not enabled",
    ),
    (
        "gateway elsewhere",
        [with_gateway("additionalIngress", "ingress-green", namespace="x"), mesh("green")],
        "is in namespace x: expected red-system",
    ),
    (
        "others' peer",
        [mesh("red", peers={"green": others_peer("green", clientID="green.local/ns/a/sa/b")}), mesh("green")],
        "has spec.security.clientID green.local/ns/a/sa/b, but that of green is green.local/ns/green-system/sa/egress-",
    ),
    (
        "others' trust domain",
        [mesh("red", peers={"green": others_peer("green", trustDomain="x")}), mesh("green")],
        "spec.security.trustDomain x, but that of green is green.local",
    ),
    (
        "second name",
        [
            mesh("red", peers={"verde": others_peer("verde", clientID="green.local/ns/green-system/sa/egress")}),
            mesh("green"),
        ],
        "would be the second for the same mesh: ServiceMeshPeer verde",
    ),
    (
        "others' ConfigMap",
        [
            mesh("red", config_maps={"green-ca-root-cert": {"data": {"root-cert.pem": root("green.local", 2)}}}),
            mesh("green"),
        ],
        "does not have the root of green",
    ),
    (
        "others' empty ConfigMap",
        [mesh("red", config_maps={"green-ca-root-cert": {"data": {}}}), mesh("green")],
        "has no usable root-cert.pem",
    ),
]


@pytest.mark.parametrize(("meshes", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_cannot_be_linked_is_told(meshes: list[MeshState], says: str) -> None:
    """Before anything is written, with the object and what to do."""
    assert says in wrong(*meshes)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """Not only the first thing."""
    told = wrong(mesh("red", root=""), with_gateway("additionalIngress", "ingress-green"), mesh("green", root=""))
    assert "2 meshes are called red" in told
    told = wrong(mesh("red", root=""), mesh("green", root=""))
    assert told.count("istio-ca-root-cert") == 2


def test_meshes_of_one_root_may_have_one_trust_domain() -> None:
    """A common root vouches for all of them."""
    common = [mesh(name, trust_domain="corp.local") for name in ("red", "green")]
    assert not plan_link(common, Options()).is_done


def test_a_gateway_for_the_inside_serves_the_same_cluster_only() -> None:
    """A ClusterIP is reached by its name from a mesh of the same cluster, and from no other."""
    inside = service("ingress-green", {"service": {"type": "ClusterIP"}})
    spec: Json = {"gateways": {"additionalIngress": {"ingress-green": {}}}}
    red = mesh("red", cluster="one", spec=spec, services={"ingress-green": inside})
    assert "--address red=ADDRESS" in wrong(red, mesh("green"))
    plan = plan_link([red, mesh("green", cluster="one")], Options())
    assert "addresses: ingress-green.red-system.svc.cluster.local" in plan_text(plan)


def test_the_gateways_by_role() -> None:
    """Each mesh has one gateway a role and peer."""
    assert gateways(linked("red", "green", "blue")[0]) == {
        "ingress": ["ingress-blue", "ingress-green"],
        "egress": ["egress-blue", "egress-green"],
    }
