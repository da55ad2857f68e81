"""The files of one pod: its folder (0700), its volumes, and what tells its processes where they are."""

import base64
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from lightkube.models.core_v1 import Container, PodSpec, Volume
from lightkube.resources.core_v1 import Pod

from isthmus.lab.client import key_of
from isthmus.lab.node.environment import expand_all
from isthmus.lab.node.mounts import inside, mount_point, mount_table
from isthmus.lab.node.payload import write_payload
from isthmus.lab.node.sources import Sources
from isthmus.lab.node.termination import DEFAULT_PATH
from isthmus.lab.node.volumes import is_rendered, render

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - the path that Kubernetes documents
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What pods are told of their cluster. ``ca`` is PEM; ``dns`` is ``ip:port``, empty for none."""

    server_host: str
    server_port: int
    ca: str
    dns: str

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.server_host}:{self.server_port}"


class PodFiles:
    """``<folder>/volumes/<name>``, ``home``, ``tmp`` and ``kubeconfig``; containers' logs lie beside them."""

    def __init__(self, pod: Pod, *, folder: Path, cluster: Cluster) -> None:
        self._name = key_of(pod).name
        self._namespace = key_of(pod).namespace
        self._spec = pod.spec or PodSpec(containers=[])
        self._folder = folder
        self._cluster = cluster
        self.home = folder / "home"

    def mount(self, sources: Sources) -> None:
        """Make the folder and all volumes.

        Raises MissingSourceError for a source that is not there (yet), LookupError or ValueError for what can't be.
        """
        for folder in (self._folder, self.home, self._folder / "tmp", self._folder / "volumes"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.render(sources)
        self._write_kubeconfig()

    def render(self, sources: Sources) -> None:
        """Bring all volumes to what their sources say now; raises as :meth:`mount` does."""
        for volume in self._spec.volumes or []:
            place = self._place(volume)
            if is_rendered(volume):
                write_payload(place, render(volume, sources))
            elif volume.hostPath is None:
                place.mkdir(mode=0o700, exist_ok=True)

    def mounts(self, container: Container, *, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """mountPath to real place, for one container; ``variables`` are for paths that are made of them.

        A ``subPath`` that is not there becomes a directory, if the volume can be written to.
        """
        places = {volume.name: self._place(volume) for volume in self._spec.volumes or []}
        mounts = container.volumeMounts or []
        table = mount_table(mounts, places, expand=lambda text: expand_all(text, variables or {}))
        rendered = {volume.name for volume in self._spec.volumes or [] if is_rendered(volume)}
        for mount in mounts:
            place = Path(table[mount_point(mount)])
            if (mount.subPath or mount.subPathExpr) and mount.name not in rendered and not place.exists():
                place.mkdir(mode=0o700, parents=True)
        return table | {container.terminationMessagePath or DEFAULT_PATH: str(self.message(container))}

    def message(self, container: Container) -> Path:
        """The file of a container's last words."""
        return inside(self._folder / "messages", container.name)

    def environment(self) -> dict[str, str]:
        """The variables that every container has before its own."""
        cluster = self._cluster
        found = {
            "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
            "HOME": str(self.home),
            "TMPDIR": str(self._folder / "tmp"),
            "HOSTNAME": self._spec.hostname or self._name,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "KUBERNETES_SERVICE_HOST": cluster.server_host,
            "KUBERNETES_SERVICE_PORT": str(cluster.server_port),
        }
        found |= {"DNS_SERVER": cluster.dns} if cluster.dns else {}
        return found | ({"KUBECONFIG": str(self._kubeconfig)} if self._kubeconfig.exists() else {})

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    def _place(self, volume: Volume) -> Path:
        if volume.hostPath is not None:
            return Path(volume.hostPath.path)
        if not (is_rendered(volume) or volume.emptyDir is not None):
            raise LookupError(
                f"Mounting volume {volume.name!r}: this node knows configMap, secret, projected, downwardAPI, "
                "emptyDir and hostPath only"
            )
        return inside(self._folder / "volumes", volume.name)

    def _write_kubeconfig(self) -> None:
        mounts = (mount for c in self._spec.containers for mount in c.volumeMounts or [])
        name = next((mount.name for mount in mounts if mount.mountPath == TOKEN_MOUNT), None)
        tokens = next((self._place(volume) for volume in self._spec.volumes or [] if volume.name == name), None)
        if tokens is not None:
            self._kubeconfig.touch(mode=0o600)
            content = pod_kubeconfig(self._cluster, token_file=f"{tokens}/token", namespace=self._namespace)
            self._kubeconfig.write_text(content)


def pod_kubeconfig(cluster: Cluster, *, token_file: str, namespace: str) -> str:
    """A kubeconfig with which a pod speaks to its cluster as its service account."""
    ca = base64.b64encode(cluster.ca.encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {"server": cluster.server, "certificate-authority-data": ca}}],
            "users": [{"name": "pod", "user": {"tokenFile": token_file}}],
            "contexts": [{"name": "pod", "context": {"cluster": "cluster", "user": "pod", "namespace": namespace}}],
            "current-context": "pod",
        }
    )
