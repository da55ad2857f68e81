"""The objects of one gateway: ServiceAccount, Service and Deployment."""

from lightkube.models.core_v1 import (
    ConfigMapVolumeSource,
    Container,
    PodSpec,
    ProjectedVolumeSource,
    ServiceAccountTokenProjection,
    ServicePort,
    ServiceSpec,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Service, ServiceAccount

from isthmus.api.controlplane import GatewayPort
from isthmus.api.logs import SETTINGS_KEY
from isthmus.kube import KubeObject
from isthmus.operator import pods
from isthmus.operator.mesh import NAME, PART_OF, Mesh, PeerGateway, Role

SERVICE_PORT = 15443
DISCOVERY_PORT = 8188
PORTS = {
    "tls": SERVICE_PORT,
    "discovery": DISCOVERY_PORT,
    "agent": 15020,
    "status-port": 15021,
    "http-envoy-prom": 15090,
}

TOKENS = "/var/run/secrets/tokens"
TOKEN = "istio-token"  # noqa: S105 -- a file
AUDIENCE = "istio-ca"
ROOTS = "/var/run/secrets/istio"
ROOT_CONFIG_MAP = "istio-ca-root-cert"
ROOT = "root-cert.pem"
SETTINGS = "settings"
SETTINGS_FOLDER = "/etc/isthmus"

_DISCOVERY_NAMES: dict[Role, str] = {"ingress": "https-discovery", "egress": "http-discovery"}


def objects(mesh: Mesh, gateway: PeerGateway) -> list[KubeObject]:
    """Return the gateway's objects in the order in which they are to be made."""
    account = ServiceAccount(
        metadata=mesh.metadata(gateway.service_account, gateway.namespace, component=gateway.name),
        automountServiceAccountToken=False,
    )
    return [account, _service(mesh, gateway), _deployment(mesh, gateway)]


def _selector(mesh: Mesh, gateway: PeerGateway) -> dict[str, str]:
    return {"app": gateway.name, PART_OF: mesh.name}


def _metadata(mesh: Mesh, gateway: PeerGateway) -> ObjectMeta:
    """The metadata with the labels and annotations that were asked for; ours win."""
    asked = gateway.spec.service.metadata
    metadata = mesh.metadata(gateway.name, gateway.namespace, component=gateway.name)
    metadata.labels = {**asked.labels, **(metadata.labels or {})}
    metadata.annotations = dict(asked.annotations) or None
    return metadata


def _service(mesh: Mesh, gateway: PeerGateway) -> Service:
    asked = gateway.spec.service
    return Service(
        metadata=_metadata(mesh, gateway),
        spec=ServiceSpec(
            type=asked.type,
            selector=_selector(mesh, gateway),
            ports=[_port(port) for port in asked.ports or _default_ports(gateway.role)],
            externalIPs=list(asked.external_i_ps) or None,
            externalTrafficPolicy=asked.external_traffic_policy,
            loadBalancerIP=asked.load_balancer_ip,
            loadBalancerClass=asked.load_balancer_class,
            loadBalancerSourceRanges=list(asked.load_balancer_source_ranges) or None,
        ),
    )


def _default_ports(role: Role) -> tuple[GatewayPort, ...]:
    return (
        GatewayPort(name="tls", port=SERVICE_PORT),
        GatewayPort(name=_DISCOVERY_NAMES[role], port=DISCOVERY_PORT),
    )


def _port(port: GatewayPort) -> ServicePort:
    return ServicePort(
        name=port.name or f"port-{port.port}",
        port=port.port,
        targetPort=port.port if port.target_port is None else port.target_port,
        nodePort=port.node_port,
        protocol=port.protocol,
        appProtocol=port.app_protocol,
    )


def _deployment(mesh: Mesh, gateway: PeerGateway) -> Deployment:
    selector = _selector(mesh, gateway)
    spec = pods.deployment_spec(
        _container(mesh, gateway),
        runtime=gateway.spec.runtime,
        selector=selector,
        labels={
            **gateway.spec.service.metadata.labels,
            "istio": gateway.name,
            "service.istio.io/canonical-name": gateway.name,
            NAME: gateway.name,
        },
        pod=PodSpec(
            containers=[],
            serviceAccountName=gateway.service_account,
            automountServiceAccountToken=False,
            volumes=[_token_volume(), _root_volume(), _settings_volume(mesh), pods.SCRATCH],
        ),
    )
    return Deployment(metadata=_metadata(mesh, gateway), spec=spec)


def _container(mesh: Mesh, gateway: PeerGateway) -> Container:
    return Container(
        name="istio-proxy",
        image=mesh.image,
        command=_command(mesh, gateway),
        env=pods.environment(gateway.spec.runtime.container.env),
        ports=pods.ports(PORTS),
        readinessProbe=pods.ready_when("/healthz/ready", port=PORTS["status-port"]),
        resources=pods.resources(gateway.spec.runtime.container.resources),
        securityContext=pods.RESTRICTED,
        volumeMounts=[
            VolumeMount(name=TOKEN, mountPath=TOKENS, readOnly=True),
            VolumeMount(name=ROOT_CONFIG_MAP, mountPath=ROOTS, readOnly=True),
            VolumeMount(name=SETTINGS, mountPath=SETTINGS_FOLDER, readOnly=True),
            pods.SCRATCH_MOUNT,
        ],
    )


def _command(mesh: Mesh, gateway: PeerGateway) -> list[str]:
    return [
        *("isthmus", "gateway"),
        *("--name", gateway.name),
        *("--role", gateway.role),
        *("--mesh", mesh.name),
        *("--namespace", gateway.namespace),
        *mesh.trust_options,
        *("--pilot", f"{mesh.pilot}.{mesh.namespace}.svc.cluster.local"),
        *("--pod-name", "$(POD_NAME)"),
        *("--pod-ip", "$(POD_IP)"),
        *("--token-path", f"{TOKENS}/{TOKEN}"),
        *("--root-path", f"{ROOTS}/{ROOT}"),
        *("--settings-path", f"{SETTINGS_FOLDER}/{SETTINGS_KEY}"),
    ]


def _token_volume() -> Volume:
    """The token with which the gateway asks the mesh's CA, and nobody else, for its certificate."""
    token = ServiceAccountTokenProjection(path=TOKEN, audience=AUDIENCE, expirationSeconds=3600)
    return Volume(
        name=TOKEN,
        projected=ProjectedVolumeSource(sources=[VolumeProjection(serviceAccountToken=token)]),
    )


def _root_volume() -> Volume:
    return Volume(name=ROOT_CONFIG_MAP, configMap=ConfigMapVolumeSource(name=ROOT_CONFIG_MAP))


def _settings_volume(mesh: Mesh) -> Volume:
    """What the gateway follows while it runs; a gateway in another namespace than the ConfigMap goes without."""
    return Volume(name=SETTINGS, configMap=ConfigMapVolumeSource(name=mesh.pilot, optional=True))
