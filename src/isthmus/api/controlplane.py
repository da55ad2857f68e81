"""``ServiceMeshControlPlane`` (``maistra.io/v2``): the part of it that a federation needs.

Everything else that such a resource may hold is kept by the API server and ignored here.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from lightkube.core.resource import NamespacedResourceG, NamespacedSubResource
from msgspec import Meta

from isthmus.api.logs import General, LogSettings, Proxy
from isthmus.api.meta import DNS_LABEL, Conditions, Envelope, ObservedGeneration, Part, api_info, status_info
from isthmus.api.peer import Port, TrustDomainName

DEFAULT_TRUST_DOMAIN = "cluster.local"

Replicas = Annotated[int, Meta(ge=0, le=1000, extra_json_schema={"format": "int32"})]
Quantity = Annotated[int | str, Meta(extra_json_schema={"x-kubernetes-int-or-string": True})]
Atomic = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})


class Cluster(Part, frozen=True, kw_only=True):
    """The cluster that the mesh is in."""

    name: Annotated[str, Meta(description="Name of the cluster, for people.")] = ""
    network: Annotated[str, Meta(description="Name of the network of this mesh.")] = ""


class Trust(Part, frozen=True, kw_only=True):
    """The trust domain of the mesh."""

    domain: Annotated[
        TrustDomainName,
        Meta(description="The trust domain, which no other mesh may have; cluster.local if it is left out."),
    ] = DEFAULT_TRUST_DOMAIN
    additional_domains: Annotated[
        tuple[TrustDomainName, ...], Atomic, Meta(description="Trust domains to accept as aliases of this one.")
    ] = ()


class Security(Part, frozen=True, kw_only=True):
    """Security of the mesh."""

    trust: Trust = Trust()
    manage_network_policy: Annotated[
        bool, Meta(description="Whether NetworkPolicies are to be made; Isthmus needs none and makes none.")
    ] = True


class ResourceAmounts(Part, frozen=True, kw_only=True):
    """What a container asks for, and what it may use at most."""

    requests: Annotated[dict[str, Quantity] | None, Meta(description="What it asks for, such as cpu: 10m")] = None
    limits: Annotated[dict[str, Quantity] | None, Meta(description="What it may use, such as memory: 128Mi")] = None


class AutoScaling(Part, frozen=True, kw_only=True):
    """Automatic scaling; only its lower bound is used, as the number of replicas."""

    enabled: Annotated[bool | None, Meta(description="Whether it is on.")] = None
    min_replicas: Annotated[Replicas | None, Meta(description="The least number of pods.")] = None
    max_replicas: Annotated[Replicas | None, Meta(description="The greatest number of pods.")] = None


class DeploymentRuntime(Part, frozen=True, kw_only=True):
    """The Deployment of a component."""

    replicas: Annotated[Replicas | None, Meta(description="The number of pods; 1 if it is left out.")] = None
    auto_scaling: AutoScaling | None = None


class ObjectLabels(Part, frozen=True, kw_only=True):
    """Labels and annotations to add."""

    labels: Annotated[dict[str, str], Meta(description="Labels to add.")] = msgspec.field(default_factory=dict)
    annotations: Annotated[dict[str, str], Meta(description="Annotations to add.")] = msgspec.field(
        default_factory=dict
    )


class PodRuntime(Part, frozen=True, kw_only=True):
    """The pods of a component."""

    metadata: ObjectLabels = ObjectLabels()
    node_selector: Annotated[dict[str, str] | None, Meta(description="Labels that the node must have.")] = None
    priority_class_name: Annotated[str | None, Meta(description="Priority class of the pods.")] = None


class ContainerRuntime(Part, frozen=True, kw_only=True):
    """The container of a component."""

    resources: ResourceAmounts | None = None
    env: Annotated[dict[str, str], Meta(description="Environment variables to add.")] = msgspec.field(
        default_factory=dict
    )


class Runtime(Part, frozen=True, kw_only=True):
    """How a component is run."""

    deployment: DeploymentRuntime = DeploymentRuntime()
    pod: PodRuntime = PodRuntime()
    container: ContainerRuntime = ContainerRuntime()

    @property
    def replicas(self) -> int:
        """The number of pods that is asked for."""
        scaling = self.deployment.auto_scaling
        if scaling and scaling.enabled and scaling.min_replicas is not None:
            return scaling.min_replicas
        return 1 if self.deployment.replicas is None else self.deployment.replicas


class Runtimes(Part, frozen=True, kw_only=True):
    """How the components of the control plane are run."""

    components: Annotated[dict[str, Runtime], Meta(description="By component; pilot is the one used here.")] = (
        msgspec.field(default_factory=dict)
    )


class GatewayPort(Part, frozen=True, kw_only=True):
    """A port of a gateway's Service."""

    name: Annotated[str, Meta(description="Name of the port.", max_length=63)] = ""
    port: Annotated[Port, Meta(description="The port of the Service.")]
    target_port: Annotated[
        int | str | None,
        Meta(
            description="The port of the pods; the same as port if it is left out.",
            extra_json_schema={"x-kubernetes-int-or-string": True},
        ),
    ] = None
    node_port: Annotated[Port | None, Meta(description="The port of the nodes, for NodePort and LoadBalancer.")] = None
    protocol: Annotated[Literal["TCP", "UDP", "SCTP"], Meta(description="The protocol; TCP if it is left out.")] = "TCP"
    app_protocol: Annotated[str | None, Meta(description="The application's protocol.")] = None


class GatewayService(Part, frozen=True, kw_only=True):
    """The Service of a gateway: its own metadata, and fields of a Kubernetes Service's spec."""

    metadata: ObjectLabels = ObjectLabels()
    type: Annotated[
        Literal["ClusterIP", "NodePort", "LoadBalancer"] | None, Meta(description="Type of the Service.")
    ] = None
    ports: Annotated[
        tuple[GatewayPort, ...],
        Atomic,
        Meta(description="The ports; 15443 and 8188 if there are none."),
    ] = ()
    external_i_ps: Annotated[
        tuple[str, ...], Atomic, Meta(description="Addresses at which the nodes take traffic for the Service.")
    ] = msgspec.field(name="externalIPs", default=())
    external_traffic_policy: Annotated[
        Literal["Cluster", "Local"] | None, Meta(description="Whether nodes pass traffic on to other nodes.")
    ] = None
    load_balancer_ip: Annotated[str | None, Meta(description="The address to ask of the load balancer.")] = (
        msgspec.field(name="loadBalancerIP", default=None)
    )
    load_balancer_class: Annotated[str | None, Meta(description="The kind of load balancer to ask for.")] = None
    load_balancer_source_ranges: Annotated[
        tuple[str, ...], Atomic, Meta(description="The only networks that may use the load balancer.")
    ] = ()


class Gateway(Part, frozen=True, kw_only=True):
    """A gateway that serves one peer."""

    enabled: Annotated[bool, Meta(description="Whether the gateway is to be; true if it is left out.")] = True
    namespace: Annotated[
        str, Meta(description="Namespace of the gateway; that of the control plane if it is left out.", max_length=63)
    ] = ""
    router_mode: Annotated[
        Literal["sni-dnat", "standard"] | None, Meta(description="Accepted and ignored: gateways route by SNI.")
    ] = None
    requested_network_view: Annotated[
        tuple[str, ...], Atomic, Meta(description="Accepted and ignored: a gateway sees what its peer shares.")
    ] = ()
    service: GatewayService = GatewayService()
    runtime: Runtime = Runtime()


class Gateways(Part, frozen=True, kw_only=True):
    """The gateways of the mesh, by name: an ingress and an egress for each peer."""

    additional_ingress: Annotated[
        dict[str, Gateway], Meta(description="Gateways through which peers call us, one for each peer.")
    ] = msgspec.field(default_factory=dict)
    additional_egress: Annotated[
        dict[str, Gateway], Meta(description="Gateways through which we call peers, one for each peer.")
    ] = msgspec.field(default_factory=dict)


class ControlPlaneSpec(Part, frozen=True, kw_only=True):
    """A mesh: its trust domain and its gateways."""

    version: Annotated[str, Meta(description="Version of the control plane as OpenShift counts them, such as v2.6")] = (
        ""
    )
    cluster: Cluster = Cluster()
    security: Security = Security()
    gateways: Gateways = Gateways()
    runtime: Runtimes = Runtimes()
    general: General = General()
    proxy: Proxy = Proxy()

    @property
    def logs(self) -> LogSettings:
        """What takes effect without a restart."""
        return LogSettings(general=self.general, proxy=self.proxy)


class Components(Part, frozen=True, kw_only=True):
    """The components of the mesh, by readiness."""

    ready: Annotated[tuple[str, ...] | None, Atomic, Meta(description="Those that are ready.")] = None
    pending: Annotated[tuple[str, ...] | None, Atomic, Meta(description="Those that are not.")] = None
    unready: Annotated[tuple[str, ...] | None, Atomic, Meta(description="Those that have failed.")] = None


class Readiness(Part, frozen=True, kw_only=True):
    """Which components are ready."""

    components: Components = Components()


class ControlPlaneStatus(Part, frozen=True, kw_only=True):
    """How far the mesh is."""

    annotations: Annotated[dict[str, str], Meta(description="Summaries for people, such as readyComponentCount")] = (
        msgspec.field(default_factory=dict)
    )
    readiness: Readiness | None = None
    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None


class ControlPlaneModel(Envelope, frozen=True, kw_only=True):
    """The fields of the kind, whichever way it is served."""

    spec: ControlPlaneSpec = ControlPlaneSpec()
    status: ControlPlaneStatus | None = None


_INFO = api_info("maistra.io", "v2", "ServiceMeshControlPlane", plural="servicemeshcontrolplanes")


class ServiceMeshControlPlaneStatusView(NamespacedSubResource, ControlPlaneModel, frozen=True, kw_only=True):
    """The ``status`` subresource of a ServiceMeshControlPlane."""

    _api_info = status_info(_INFO)


class ServiceMeshControlPlane(NamespacedResourceG, ControlPlaneModel, frozen=True, kw_only=True):
    """A mesh: one control plane and its gateways."""

    _api_info = _INFO
    Status: ClassVar = ServiceMeshControlPlaneStatusView


GATEWAY_NAME = DNS_LABEL
"""What a gateway may be called: it becomes the name of a Service and of a Deployment."""
