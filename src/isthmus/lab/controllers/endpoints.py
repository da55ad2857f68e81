"""Which EndpointSlices a Service with a selector should have, as a function of its pods (discovery.k8s.io/v1).

Hints are those of ``spec.trafficDistribution``. Those of topology mode ``Auto``, which shares endpoints out by the CPUs
of at least two zones, are not made. Source: Kubernetes documentation, "Traffic distribution".
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable

from lightkube.models.core_v1 import Container, ObjectReference, ServicePort
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForZone
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import key_of, metadata_of
from isthmus.lab.controllers.ownership import owner_reference
from isthmus.lab.controllers.replicaset import phase, ready_since

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
ENDPOINTS_PER_SLICE = 100
FOR_OWN_ZONE = ("PreferClose", "PreferSameZone")
"""Values of ``spec.trafficDistribution`` by which an endpoint is meant for callers of its own zone."""

Ports = tuple[tuple[str, str, int, str | None], ...]
ZoneOf = Callable[[str | None], str]
"""The zone of the node of that name, empty if there is none."""


def slices_for(service: Service, pods: list[Pod], *, zone_of: ZoneOf = lambda _node: "") -> list[EndpointSlice]:
    """The slices of a Service whose selector has chosen ``pods``: one set of slices for each way its ports resolve.

    There is always one slice at least, so that a Service without pods can be told from one nobody has looked at.
    """
    groups: dict[Ports, list[Endpoint]] = defaultdict(list)
    for pod in sorted(pods, key=key_of):
        if (endpoint := endpoint_for(service, pod, zone_of=zone_of)) is not None:
            groups[resolved_ports(service, pod)].append(endpoint)
    if not groups:
        groups[()] = []
    return [
        _slice(service, part=(way, start), ports=ports, endpoints=endpoints[start : start + ENDPOINTS_PER_SLICE])
        for way, (ports, endpoints) in enumerate(sorted(groups.items(), key=lambda item: str(item[0])))
        for start in range(0, max(1, len(endpoints)), ENDPOINTS_PER_SLICE)
    ]


def endpoint_for(service: Service, pod: Pod, *, zone_of: ZoneOf) -> Endpoint | None:
    """The endpoint that a pod is, None if it has no address (yet, or any more)."""
    address = pod.status.podIP if pod.status else None
    if not address or phase(pod) in ("Succeeded", "Failed"):
        return None
    serving, terminating = ready_since(pod) is not None, metadata_of(pod).deletionTimestamp is not None
    always = bool(service.spec and service.spec.publishNotReadyAddresses)
    ready = always or (serving and not terminating)
    node = pod.spec.nodeName if pod.spec else None
    zone = zone_of(node)
    return Endpoint(
        addresses=[address],
        conditions=EndpointConditions(ready=ready, serving=always or serving, terminating=terminating),
        hints=_hints(service, zone) if ready else None,
        hostname=_hostname(service, pod),
        nodeName=node,
        zone=zone or None,
        targetRef=ObjectReference(
            kind="Pod", name=key_of(pod).name, namespace=key_of(pod).namespace, uid=metadata_of(pod).uid
        ),
    )


def _hints(service: Service, zone: str) -> EndpointHints | None:
    """Whom an endpoint in ``zone`` is meant for; None: for all."""
    is_for_own_zone = service.spec is not None and service.spec.trafficDistribution in FOR_OWN_ZONE
    return EndpointHints(forZones=[ForZone(name=zone)]) if is_for_own_zone and zone else None


def _hostname(service: Service, pod: Pod) -> str | None:
    """A pod has a name of its own below a headless Service if its ``subdomain`` says so (DNS for Services and Pods)."""
    return pod.spec.hostname if pod.spec and pod.spec.subdomain == key_of(service).name else None


def resolved_ports(service: Service, pod: Pod) -> Ports:
    """Each port of the Service as the number it has in this pod; a port name the pod does not have is left out."""
    ports = (service.spec.ports if service.spec else None) or []
    resolved = ((port, target_number(port, pod)) for port in ports)
    return tuple(
        (port.name or "", port.protocol or "TCP", number, port.appProtocol)
        for port, number in resolved
        if number is not None
    )


def target_number(port: ServicePort, pod: Pod) -> int | None:
    """The container port that a Service port leads to: targetPort, by number or by name, else the port itself."""
    target = port.targetPort
    if target is None or target == 0:
        return port.port
    if isinstance(target, int):
        return target
    containers: list[Container] = [*(pod.spec.containers if pod.spec else [])]
    named = (p for container in containers for p in container.ports or [] if p.name == target)
    return next((p.containerPort for p in named if (p.protocol or "TCP") == (port.protocol or "TCP")), None)


def _slice(service: Service, *, part: tuple[int, int], ports: Ports, endpoints: list[Endpoint]) -> EndpointSlice:
    key = key_of(service)
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"{key.name}-{_suffix(metadata_of(service).uid, part)}",
            namespace=key.namespace,
            labels={**(metadata_of(service).labels or {}), SERVICE_LABEL: key.name, MANAGED_BY: CONTROLLER},
            ownerReferences=[owner_reference(service)],
        ),
        addressType="IPv4",
        ports=[EndpointPort(name=n, protocol=proto, port=p, appProtocol=app) for n, proto, p, app in ports],
        endpoints=endpoints,
    )


def _suffix(uid: str | None, part: tuple[int, int]) -> str:
    return hashlib.sha256(f"{uid}/{part}".encode()).hexdigest()[:5]
