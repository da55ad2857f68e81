"""The objects of a mesh's control plane: ``istiod-<mesh>``."""

import msgspec
from lightkube.models.core_v1 import Container, PodSpec, ServicePort, ServiceSpec
from lightkube.models.meta_v1 import LabelSelector
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Service, ServiceAccount
from lightkube.resources.policy_v1 import PodDisruptionBudget

from isthmus.api.controlplane import Runtime
from isthmus.api.logs import SETTINGS_KEY
from isthmus.kube import KubeObject
from isthmus.operator import pods, rbac
from isthmus.operator.mesh import NAME, PART_OF, Mesh

COMPONENT = "istiod"

PORTS = {"https-discovery": 8188, "grpc-xds": 15011, "grpc-ca": 15012, "http-monitoring": 15014}
DNS_PORT = 15053
"""Where the pilot answers DNS, port 53 of its Service: only root may bind that one."""


def objects(mesh: Mesh) -> list[KubeObject]:
    """Return the control plane's objects in the order in which they are to be made."""
    return [
        ServiceAccount(metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT)),
        *rbac.pilot(mesh),
        _settings(mesh),
        _service(mesh),
        _deployment(mesh),
        *_disruption_budget(mesh),
    ]


def _settings(mesh: Mesh) -> ConfigMap:
    """What the control plane and the gateways follow while they run."""
    settings = msgspec.json.encode(mesh.control_plane.spec.logs).decode()
    return ConfigMap(
        metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT), data={SETTINGS_KEY: settings}
    )


def _runtime(mesh: Mesh) -> Runtime:
    return mesh.control_plane.spec.runtime.components.get("pilot", Runtime())


def _selector(mesh: Mesh) -> dict[str, str]:
    return {"app": COMPONENT, "istio.io/rev": mesh.name}


def _service(mesh: Mesh) -> Service:
    served = [
        ServicePort(name=name, port=port, targetPort=port, protocol="TCP", appProtocol=_APP_PROTOCOLS.get(name))
        for name, port in PORTS.items()
    ]
    dns = [
        ServicePort(name="dns", port=53, targetPort=DNS_PORT, protocol="UDP"),
        ServicePort(name="dns-tcp", port=53, targetPort=DNS_PORT, protocol="TCP"),
    ]
    return Service(
        metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT),
        spec=ServiceSpec(selector=_selector(mesh), ports=[*served, *dns]),
    )


_APP_PROTOCOLS = {"https-discovery": "https", "http-monitoring": "http"}


def _deployment(mesh: Mesh) -> Deployment:
    runtime = _runtime(mesh)
    spec = pods.deployment_spec(
        _container(mesh, runtime),
        runtime=runtime,
        selector=_selector(mesh),
        labels={NAME: COMPONENT, PART_OF: mesh.name},
        pod=PodSpec(containers=[], serviceAccountName=mesh.pilot, volumes=[pods.SCRATCH]),
    )
    return Deployment(metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT), spec=spec)


def _container(mesh: Mesh, runtime: Runtime) -> Container:
    return Container(
        name="discovery",
        image=mesh.image,
        command=_command(mesh),
        env=pods.environment(runtime.container.env),
        ports=[
            *pods.ports({**PORTS, "dns-tcp": DNS_PORT}),
            *pods.ports({"dns": DNS_PORT}, protocol="UDP"),
        ],
        readinessProbe=pods.ready_when("/ready", port=PORTS["http-monitoring"]),
        resources=pods.resources(runtime.container.resources),
        securityContext=pods.RESTRICTED,
        volumeMounts=[pods.SCRATCH_MOUNT],
    )


def _command(mesh: Mesh) -> list[str]:
    return [
        *("isthmus", "pilot"),
        *("--mesh", mesh.name),
        *("--namespace", mesh.namespace),
        *mesh.trust_options,
        *("--pod-name", "$(POD_NAME)"),
        *("--pod-ip", "$(POD_IP)"),
    ]


def _disruption_budget(mesh: Mesh) -> list[PodDisruptionBudget]:
    """Of several replicas one may be evicted at a time; a budget for a single one would block every drain."""
    if _runtime(mesh).replicas < 2:
        return []
    return [
        PodDisruptionBudget(
            metadata=mesh.metadata(mesh.pilot, mesh.namespace, component=COMPONENT),
            spec=PodDisruptionBudgetSpec(maxUnavailable=1, selector=LabelSelector(matchLabels=_selector(mesh))),
        )
    ]
