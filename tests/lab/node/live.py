"""The pods of one namespace, made and looked at by kubectl, as their user does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machine import Cluster, eventually
from tests.lab.workloads import pod

SCRATCH = {"name": "w", "mountPath": "/w"}
"""A directory that the test sees too, at ``Pods.folder(name)``."""


def wait_for(wanted: Any, look: Callable[[], list[Any]]) -> None:
    """Wait until a look finds what is wanted; what it found last is in the failure."""
    found: list[Any] = []

    def there() -> bool:
        found[:] = look()
        return wanted in found

    try:
        eventually(there)
    except AssertionError as error:
        raise AssertionError(f"{error}; wanted {wanted!r}, found {found!r}") from None


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of ``namespace``."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *args: str) -> str:
        """What kubectl prints about this namespace; it must succeed."""
        return self.cluster.kubectl("-n", self.namespace, *args)

    def run(self, name: str, *containers: dict[str, Any], **spec: Any) -> None:
        """Create a pod; every container may mount :data:`SCRATCH`."""
        volumes = [{"name": "w", "emptyDir": {}}, *spec.pop("volumes", [])]
        self.cluster.apply(pod(self.namespace, name, *containers, volumes=volumes, **spec))

    def get(self, name: str) -> Any:
        """The pod."""
        return self.cluster.get("pod", name, "-n", self.namespace)

    def status(self, name: str, container: str = "c") -> Any:
        """The status of one container; an empty object before there is one."""
        status = self.get(name)["status"]
        every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        return next((one for one in every if one["name"] == container), {})

    def column(self, name: str, column: str = "STATUS") -> str:
        """What ``kubectl get pod`` shows in a column."""
        head, line = self.kubectl("get", "pod", name).splitlines()
        start = head.index(column)
        return line[start:].split("  ")[0].strip()

    def shows(self, name: str, text: str, column: str = "STATUS") -> None:
        """Wait until ``kubectl get pod`` shows a text in a column."""
        wait_for(text, lambda: [self.column(name, column)])

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of the Events about a pod."""
        fields = f"involvedObject.name={name},involvedObject.namespace={self.namespace}"
        items = self.cluster.get("events", "-n", self.namespace, "--field-selector", fields)["items"]
        return [(item["type"], item["reason"], item["message"]) for item in items]

    def happened(self, name: str, kind: str, reason: str, message: str) -> None:
        """Wait until there is such an Event about a pod."""
        wait_for((kind, reason, message), lambda: self.events(name))

    def folder(self, name: str) -> Path:
        """Where the pod's :data:`SCRATCH` is on this machine."""
        return self.volume(name, "w")

    def volume(self, name: str, volume: str) -> Path:
        """Where a volume of the pod is on this machine."""
        uid: str = self.get(name)["metadata"]["uid"]
        return Path(self.cluster.kubeconfig).parent / "pods" / uid / "volumes" / volume
