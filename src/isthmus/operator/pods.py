"""What the pods of all components have in common: as few rights as a process can have, and who they are."""

from collections.abc import Mapping
from typing import Any

from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import (
    Capabilities,
    Container,
    ContainerPort,
    EmptyDirVolumeSource,
    EnvVar,
    EnvVarSource,
    HTTPGetAction,
    ObjectFieldSelector,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Volume,
    VolumeMount,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta

from isthmus.api.controlplane import ResourceAmounts, Runtime

RESTRICTED_POD = PodSecurityContext(runAsNonRoot=True, seccompProfile=SeccompProfile(type="RuntimeDefault"))

RESTRICTED = SecurityContext(
    allowPrivilegeEscalation=False,
    capabilities=Capabilities(drop=["ALL"]),
    readOnlyRootFilesystem=True,
)
"""Pod Security Standards, profile "Restricted", and a root file system that nobody writes to."""

SCRATCH = Volume(name="tmp", emptyDir=EmptyDirVolumeSource())
SCRATCH_MOUNT = VolumeMount(name="tmp", mountPath="/tmp")  # noqa: S108 -- a volume of the pod's own

_FIELDS = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP"}


def environment(more: Mapping[str, str]) -> list[EnvVar]:
    """Return the variables by which a process knows its pod, and more."""
    about = [
        EnvVar(name=name, valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath=path)))
        for name, path in _FIELDS.items()
    ]
    return about + [EnvVar(name=name, value=value) for name, value in sorted(more.items()) if name not in _FIELDS]


def ports(numbers: Mapping[str, int], *, protocol: str = "TCP") -> list[ContainerPort]:
    """Return named ports of a container."""
    return [ContainerPort(name=name, containerPort=number, protocol=protocol) for name, number in numbers.items()]


def ready_when(path: str, *, port: int) -> Probe:
    """Return a readiness probe that notices soon."""
    return Probe(httpGet=HTTPGetAction(path=path, port=port), periodSeconds=2, failureThreshold=3, timeoutSeconds=2)


def resources(amounts: ResourceAmounts | None) -> ResourceRequirements | None:
    """Return the amounts that were asked for, if any."""
    if amounts is None:
        return None
    return ResourceRequirements(requests=_strings(amounts.requests), limits=_strings(amounts.limits))


def _strings(amounts: Mapping[str, int | str] | None) -> dict[str, Any] | None:
    """Quantities as strings, the form in which the API server returns them."""
    return {name: str(amount) for name, amount in amounts.items()} if amounts is not None else None


def deployment_spec(
    container: Container, *, runtime: Runtime, selector: dict[str, str], labels: dict[str, str], pod: PodSpec
) -> DeploymentSpec:
    """Return a Deployment's spec for one container in a restricted pod.

    pod: what is particular about the pod; its containers are filled in here. The selector wins over labels that
    someone asks for: it may never change.
    """
    pod.containers = [container]
    pod.securityContext = RESTRICTED_POD
    pod.nodeSelector = runtime.pod.node_selector
    pod.priorityClassName = runtime.pod.priority_class_name
    metadata = ObjectMeta(
        labels={**runtime.pod.metadata.labels, **labels, **selector},
        annotations=dict(runtime.pod.metadata.annotations) or None,
    )
    return DeploymentSpec(
        replicas=runtime.replicas,
        selector=LabelSelector(matchLabels=selector),
        template=PodTemplateSpec(metadata=metadata, spec=pod),
    )
