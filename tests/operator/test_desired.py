"""From a ServiceMeshControlPlane to the objects it calls for."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Service, ServiceAccount
from lightkube.resources.policy_v1 import PodDisruptionBudget
from tests.operator.meshes import control_plane, documented

from isthmus.api import ServiceMeshControlPlane
from isthmus.kube import key_of, plan
from isthmus.kube.apply import Apply, Delete, identity_of, stamped
from isthmus.operator.controller import KINDS
from isthmus.operator.desired import desired, problems
from isthmus.operator.mesh import owner_of
from isthmus.pilot.mesh_settings import parse_settings

GATEWAY = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "namespace": st.sampled_from(["red-mesh-system", "gateways"]),
        "service": st.fixed_dictionaries(
            {
                "metadata": st.fixed_dictionaries(
                    {"labels": st.dictionaries(st.sampled_from(["app", "x"]), st.just("y"))}
                )
            }
        ),
        "runtime": st.fixed_dictionaries(
            {"pod": st.fixed_dictionaries({"metadata": st.just({"labels": {"app": "z", "istio": "z"}})})}
        ),
    },
)
CONTROL_PLANES = st.builds(
    lambda egress, ingress: control_plane({"gateways": {"additionalEgress": egress, "additionalIngress": ingress}}),
    st.dictionaries(st.sampled_from(["egress-a", "egress-b"]), GATEWAY),
    st.dictionaries(st.sampled_from(["ingress-a", "ingress-b"]), GATEWAY),
)


def of_kind(objects: list[Any], kind: type[Any]) -> dict[str, Any]:
    """Return the objects of a kind by name."""
    return {key_of(obj).name: obj for obj in objects if isinstance(obj, kind)}


def test_documented_mesh(golden: Callable[[str, Any], None]) -> None:
    """The mesh of the documentation is made of the reviewed objects."""
    golden("red-mesh", [msgspec.to_builtins(obj) for obj in desired(documented(), image="isthmus")])


@given(CONTROL_PLANES)
def test_same_resource_same_objects(resource: ServiceMeshControlPlane) -> None:
    """The objects depend on the resource only, each is there once, and is of a kind that the operator follows."""
    objects = desired(resource, image="isthmus")
    again = desired(msgspec.json.decode(msgspec.json.encode(resource), type=ServiceMeshControlPlane), image="isthmus")
    assert [msgspec.json.encode(obj) for obj in objects] == [msgspec.json.encode(obj) for obj in again]
    assert len({identity_of(obj) for obj in objects}) == len(objects)
    assert {type(obj) for obj in objects} <= set(KINDS)


@given(CONTROL_PLANES)
def test_selectors_match_their_pods_and_nothing_else(resource: ServiceMeshControlPlane) -> None:
    """A Deployment and the Service of its name select its pods, and no pods of another Deployment."""
    objects = desired(resource, image="isthmus")
    services = of_kind(objects, Service)
    pods = {name: deployment.spec.template.metadata.labels for name, deployment in of_kind(objects, Deployment).items()}
    for name, deployment in of_kind(objects, Deployment).items():
        for selector in (deployment.spec.selector.matchLabels, services[name].spec.selector):
            assert [other for other, labels in pods.items() if selector.items() <= labels.items()] == [name]


@given(CONTROL_PLANES)
def test_every_gateway_runs_as_its_service_account(resource: ServiceMeshControlPlane) -> None:
    """A gateway that is enabled has a Deployment, a Service and the ServiceAccount that peers know it by."""
    objects = desired(resource, image="isthmus")
    gateways = {**resource.spec.gateways.additional_egress, **resource.spec.gateways.additional_ingress}
    enabled = {name for name, gateway in gateways.items() if gateway.enabled}
    deployments = of_kind(objects, Deployment)
    assert deployments.keys() == {"istiod-red-mesh", *enabled}
    assert of_kind(objects, Service).keys() == deployments.keys()
    for name in enabled:
        assert deployments[name].spec.template.spec.serviceAccountName == f"{name}-service-account"
        assert f"{name}-service-account" in of_kind(objects, ServiceAccount)


@given(CONTROL_PLANES)
def test_every_object_is_known_to_belong_to_the_mesh(resource: ServiceMeshControlPlane) -> None:
    """Labels lead from each object to its resource; an owner reference does within the namespace, and only there."""
    for obj in desired(resource, image="isthmus"):
        assert owner_of(obj) == key_of(resource)
        assert bool(obj.metadata and obj.metadata.ownerReferences) == (key_of(obj).namespace == "red-mesh-system")


def test_removing_a_gateway_removes_its_objects() -> None:
    """A gateway that the resource no longer has leaves nothing behind, and nothing else is touched."""
    before = [stamped(obj) for obj in desired(documented(), image="isthmus")]
    after = documented()
    del after.spec.gateways.additional_ingress["ingress-green-mesh"]
    writes = plan(before, desired(after, image="isthmus"))
    assert [str(identity_of(write.object)) for write in writes if isinstance(write, Delete)] == [
        "Deployment red-mesh-system/ingress-green-mesh",
        "Service red-mesh-system/ingress-green-mesh",
        "ServiceAccount red-mesh-system/ingress-green-mesh-service-account",
    ]
    assert not [write for write in writes if isinstance(write, Apply)]


def test_pods_are_restricted() -> None:
    """No container may gain privileges or write to its image, and a gateway has no token for the API."""
    deployments = of_kind(desired(documented(), image="isthmus"), Deployment)
    for name, deployment in deployments.items():
        pod = deployment.spec.template.spec
        security = pod.containers[0].securityContext
        assert pod.securityContext.runAsNonRoot
        assert (security.allowPrivilegeEscalation, security.readOnlyRootFilesystem) == (False, True)
        assert security.capabilities.drop == ["ALL"]
        assert pod.automountServiceAccountToken is (None if name.startswith("istiod") else False)


def test_runtime_is_honoured() -> None:
    """Replicas, resources, environment and placement are those that were asked for."""
    runtime = {
        "deployment": {"autoScaling": {"enabled": False}, "replicas": 3},
        "container": {"resources": {"requests": {"cpu": "10m", "memory": "128Mi"}}, "env": {"A": "b", "POD_IP": "x"}},
        "pod": {"nodeSelector": {"zone": "a"}, "metadata": {"annotations": {"note": "yes"}}},
    }
    gateways = {"additionalIngress": {"ingress-a": {"runtime": runtime}}}
    resource = control_plane({"gateways": gateways, "runtime": {"components": {"pilot": runtime}}})
    objects = desired(resource, image="isthmus")
    for name in ("istiod-red-mesh", "ingress-a"):
        spec = of_kind(objects, Deployment)[name].spec
        assert spec.replicas == 3
        assert spec.template.metadata.annotations == {"note": "yes"}
        assert spec.template.spec.nodeSelector == {"zone": "a"}
        container = spec.template.spec.containers[0]
        assert container.resources.requests == {"cpu": "10m", "memory": "128Mi"}
        assert [each.value for each in container.env] == [None, None, None, "b"]
    assert of_kind(objects, PodDisruptionBudget).keys() == {"istiod-red-mesh"}


def test_service_is_honoured() -> None:
    """Type, ports, annotations and the rest of a gateway's Service are those that were asked for."""
    service = {
        "type": "NodePort",
        "metadata": {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}},
        "ports": [{"port": 443, "name": "tls", "nodePort": 30443, "targetPort": 15443}],
        "externalIPs": ["127.9.9.9"],
    }
    resource = control_plane({"gateways": {"additionalIngress": {"ingress-a": {"service": service}}}})
    made = of_kind(desired(resource, image="isthmus"), Service)["ingress-a"]
    assert made.metadata.annotations == service["metadata"]["annotations"]  # type: ignore[index]  # a literal above
    assert (made.spec.type, made.spec.externalIPs) == ("NodePort", ["127.9.9.9"])
    (port,) = made.spec.ports
    assert (port.port, port.targetPort, port.nodePort) == (443, 15443, 30443)


def test_trust_domain_and_aliases_reach_the_processes() -> None:
    """The control plane and each gateway know the mesh's trust domain, cluster.local by default, and its aliases."""
    trust = {"security": {"trust": {"additionalDomains": ["a.local", "b.local"]}}}
    resource = control_plane({**trust, "gateways": {"additionalIngress": {"ingress-a": {}}}})
    made = of_kind(desired(resource, image="isthmus"), Deployment)
    for name in ("istiod-red-mesh", "ingress-a"):
        text = " ".join(made[name].spec.template.spec.containers[0].command)
        assert "--trust-domain cluster.local --trust-domain-alias a.local --trust-domain-alias b.local" in text


def test_log_settings_reach_the_processes_without_a_restart() -> None:
    """They are in the ConfigMap that the pilot follows and gateways mount, and in no Deployment."""
    spec: dict[str, Any] = {"gateways": {"additionalEgress": {"egress-a": {}}}}
    logging = {"general": {"logging": {"componentLevels": {"kube": "debug"}}}}
    before = desired(control_plane(spec), image="isthmus")
    after = desired(control_plane({**spec, **logging}), image="isthmus")
    (changed,) = [
        new for old, new in zip(before, after, strict=True) if msgspec.json.encode(old) != msgspec.json.encode(new)
    ]
    assert isinstance(changed, ConfigMap)
    assert key_of(changed).name == "istiod-red-mesh"
    settings = parse_settings((changed.data or {})["logs.json"])
    assert settings.general.logging.component_levels == {"kube": "debug"}
    pod = of_kind(after, Deployment)["egress-a"].spec.template.spec
    assert "istiod-red-mesh" in [volume.configMap.name for volume in pod.volumes if volume.configMap]


@pytest.mark.parametrize(
    ("spec", "name", "problem"),
    [
        ({}, "red.mesh", "expected a DNS label"),
        ({}, "x" * 57, "at most 56"),
        ({"gateways": {"additionalIngress": {"Ingress": {}}}}, "red-mesh", "gateway 'Ingress'"),
        ({"gateways": {"additionalIngress": {"a": {}}, "additionalEgress": {"a": {}}}}, "red-mesh", "both"),
        ({"gateways": {"additionalIngress": {"istiod-red-mesh": {}}}}, "red-mesh", "name of the control plane"),
        ({"proxy": {"accessLogging": {"file": {"format": "%HOME%"}}}}, "red-mesh", "accessLogging.file.format"),
        ({"proxy": {"accessLogging": {"file": {"format": "%PEER%", "encoding": "JSON"}}}}, "red-mesh", "leave one"),
    ],
)
def test_problems(spec: dict[str, Any], name: str, problem: str) -> None:
    """What the schema cannot refuse is named."""
    (found,) = problems(control_plane(spec, name=name))
    assert problem in found


def test_documented_mesh_has_no_problem() -> None:
    """The documentation's control plane is fine."""
    assert problems(documented()) == []
