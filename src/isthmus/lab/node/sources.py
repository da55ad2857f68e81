"""What a pod's environment and volumes are made of: the ConfigMaps and Secrets of its namespace, and the pod itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from lightkube.models.core_v1 import PodSpec, ResourceFieldSelector
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret

from isthmus.lab.node import fields, resources

DEFAULT_TOKEN_LIFE_S = 3600


class MissingSourceError(LookupError):
    """Something that a pod refers to is not there (yet): the pod waits until it is."""


class MissingTokenError(MissingSourceError):
    """A service account token has been asked for and is not there yet."""


class TokenWish(NamedTuple):
    """A service account token that a volume asks for; an empty audience means the API server's own."""

    audience: str
    life_s: int


class Objects(Protocol):
    """Where the node looks ConfigMaps and Secrets up."""

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """The ConfigMap, None if there is none."""

    def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret, None if there is none."""


@dataclass(frozen=True, slots=True)
class Sources:
    """One consistent view for one pod."""

    pod: Pod
    namespace: str
    pod_ip: str
    host_ip: str
    objects: Objects
    tokens: Mapping[TokenWish, str] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=resources.capacity)

    def field(self, path: str) -> str:
        """A field of the pod itself; LookupError if the downward API does not have it."""
        return fields.field(self.pod, path, pod_ip=self.pod_ip, host_ip=self.host_ip)

    def resource(self, selector: ResourceFieldSelector, *, container: str = "") -> str:
        """A resource of a container; LookupError or ValueError if there is none such."""
        spec = self.pod.spec or PodSpec(containers=[])
        return resources.resource(spec, selector, container=container, node=self.capacity)

    def config_map(self, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """The values of a ConfigMap by key; MissingSourceError if it is not there and not optional."""
        found = self.objects.config_map(self.namespace, name)
        if found is None:
            return _missing("configmap", name, optional=optional)
        binary = {key: base64.b64decode(value) for key, value in (found.binaryData or {}).items()}
        return {key: value.encode() for key, value in (found.data or {}).items()} | binary

    def secret(self, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """The values of a Secret by key, decoded; MissingSourceError if it is not there and not optional."""
        found = self.objects.secret(self.namespace, name)
        if found is None:
            return _missing("secret", name, optional=optional)
        return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}


def _missing(kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
    if optional:
        return {}
    raise MissingSourceError(f'{kind} "{name}" not found')
