"""Meshes without gateways and without peers, each in a cluster of its own: what an administrator starts from."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import BIN, REPOSITORY, Site, eventually, processes_with

CONTROL_PLANE = """
apiVersion: v1
kind: Namespace
metadata: {name: %(mesh)s-system}
---
apiVersion: maistra.io/v2
kind: ServiceMeshControlPlane
metadata: {name: %(mesh)s, namespace: %(mesh)s-system}
spec:
  version: v2.6
  security: {trust: {domain: %(mesh)s.local}}
"""


@dataclass(frozen=True)
class EmptyMeshes:
    """The clusters by name; each is a context of ``kubeconfig`` of that name, with the mesh ``<name>-mesh``."""

    folder: Path
    names: tuple[str, ...]

    @property
    def kubeconfig(self) -> str:
        """The files of all clusters, as $KUBECONFIG has them."""
        return os.pathsep.join(str(self.folder / name / "kubeconfig") for name in self.names)

    def site(self, name: str, other: str = "") -> Site:
        return Site(name, other, self.folder)

    def isthmus(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``isthmus`` as an administrator of all clusters does."""
        environment = {**os.environ, "KUBECONFIG": self.kubeconfig}
        command = [str(BIN / "isthmus"), *arguments]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=100)
        assert done.returncode == expect, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done


@contextmanager
def empty_meshes(*names: str) -> Iterator[EmptyMeshes]:
    """Bring them up for the block; nothing is left of them after it."""
    with tempfile.TemporaryDirectory(prefix="isthmus-e2e-", ignore_cleanup_errors=True) as folder:
        meshes = EmptyMeshes(Path(folder), names)
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(_cluster(Path(folder), name))
            for name in names:
                eventually((Path(folder) / name / "ready").exists, what=f"cluster {name} is ready")
            _start_meshes([meshes.site(name) for name in names])
            yield meshes
        assert processes_with(folder) == []


@contextmanager
def _cluster(folder: Path, name: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        command = [str(BIN / "isthmus"), "lab", "up", name, "--foreground", "--data-dir", str(folder)]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)


def _start_meshes(sites: Sequence[Site]) -> None:
    crds = subprocess.run([str(BIN / "isthmus"), "crds"], check=True, capture_output=True, text=True).stdout
    operator = (REPOSITORY / "deploy" / "operator.yaml").read_text()
    for site in sites:
        _apply(site, crds, "--server-side")
        _apply(site, operator + "---" + CONTROL_PLANE % {"mesh": site.mesh})
    for site in sites:
        site.kubectl("wait", "--for=condition=Ready", f"smcp/{site.mesh}", "--timeout=60s")


def _apply(site: Site, text: str, *options: str) -> None:
    """Apply objects of several namespaces."""
    kubeconfig = site.data_dir / site.name / "kubeconfig"
    command = [str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), "apply", *options, "-f", "-"]
    subprocess.run(command, input=text, check=True, capture_output=True, text=True, timeout=60)
