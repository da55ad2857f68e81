"""The two meshes of the demonstration as a benchmark sees them: their APIs, their processes, what these cost.

What is measured is the product as it runs: real labs, operators, pilots and Envoys. Nothing here measures anything.
"""

import asyncio
import base64
import json
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.http_connection import processor_s, resident_mb
from lightkube import AsyncClient, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Pod, Secret
from lightkube.types import PatchType

from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain
from isthmus.mutual_tls import client_context

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[1]
GROUP, VERSION = "federation.maistra.io", "v1"
Peer = create_namespaced_resource(GROUP, VERSION, "ServiceMeshPeer", "servicemeshpeers")
Exports = create_namespaced_resource(GROUP, VERSION, "ExportedServiceSet", "exportedservicesets")
Imports = create_namespaced_resource(GROUP, VERSION, "ImportedServiceSet", "importedservicesets")


@dataclass(frozen=True, slots=True)
class Side:
    """One mesh with its cluster."""

    mesh: str
    peer: str
    folder: Path
    client: AsyncClient

    @property
    def namespace(self) -> str:
        return f"{self.mesh}-system"

    async def pod_ip(self, app: str) -> str:
        """The address of the newest pod of a gateway or of the control plane."""
        found = [pod async for pod in self.client.list(Pod, namespace=self.namespace, labels={"app": app})]
        running = [pod for pod in found if pod.status and pod.status.podIP and pod.status.phase == "Running"]
        return str(running[-1].status.podIP if running[-1].status else "")

    async def change(self, kind: Any, name: str, spec: dict[str, Any]) -> None:
        """Change fields of the ``spec`` of an object in the control plane's namespace."""
        change = {"spec": spec}
        await self.client.patch(kind, name, change, namespace=self.namespace, patch_type=PatchType.MERGE)


@dataclass(frozen=True, slots=True)
class TwoMeshes:
    """Red imports what green exports."""

    red: Side
    green: Side

    async def egress(self) -> str:
        """The address of red's egress gateway."""
        return await self.red.pod_ip(f"egress-{self.green.mesh}")

    async def watch(self) -> AsyncIterator[bytes]:
        """The events of a watch of green's control plane, made as its ingress gateway does; lines of JSON.

        The control plane sends whole lines in a chunk, so that what frames the chunks is on lines of its own.
        """
        address = await self.green.pod_ip("istiod")
        reader, writer = await asyncio.open_connection(address, 8188, ssl=await self._gateway_tls())
        red = f"spiffe://{self.red.mesh}.local/ns/{self.red.namespace}/sa/egress-{self.green.mesh}-service-account"
        head_lines = (
            f"GET /v1/watch/{self.green.peer} HTTP/1.1",
            "Host: istiod",
            f"x-forwarded-client-cert: URI={red}",  # on whose behalf, as the gateway would say
        )
        writer.write("".join(f"{line}\r\n" for line in (*head_lines, "")).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"the control plane at {address} does not let itself be watched: {head!r}")
        while line := await reader.readline():
            if line.startswith(b"{"):
                yield line
        raise RuntimeError(f"the control plane at {address} ended the watch")

    async def _gateway_tls(self) -> ssl.SSLContext:
        green = self.green
        secret = await green.client.get(Secret, "istio-ca-secret", namespace=green.namespace)
        stored = {name: base64.b64decode(value) for name, value in (secret.data or {}).items()}
        now, domain = datetime.now(UTC), TrustDomain(f"{green.mesh}.local")
        authority = Authority.load(**{part: stored[name] for part, name in _PARTS.items()}, now=now)
        gateway = SpiffeId.parse(f"spiffe://{domain}/ns/{green.namespace}/sa/ingress-{green.peer}-service-account")
        svid = authority.issue_svid(gateway, lifetime=timedelta(hours=2), now=now)
        return client_context(svid, server_roots=TrustBundle.of(domain, authority.roots))


_PARTS = {part: f"{part.replace('_', '-')}.pem" for part in ("ca_cert", "ca_key", "cert_chain", "root_cert")}


@asynccontextmanager
async def two_meshes() -> AsyncIterator[TwoMeshes]:
    """Bring up the demonstration in a folder of its own; at the end everything is gone."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-bench-", ignore_cleanup_errors=True))
        process = await asyncio.create_subprocess_exec(
            *(str(BIN / "isthmus"), "demo", "--output", "json", "--data-dir", folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 20,
        )
        stack.push_async_callback(_stop, process)
        if process.stdout is None or not await process.stdout.readline():
            raise RuntimeError("isthmus demo did not come up: run it by hand to see why")
        sides = [await stack.enter_async_context(_side(Path(folder), *names)) for names in _NAMES]
        yield TwoMeshes(*sides)


_NAMES = (("red", "green"), ("green", "red"))


@asynccontextmanager
async def _side(folder: Path, name: str, other: str) -> AsyncIterator[Side]:
    config = await asyncio.to_thread(KubeConfig.from_file, folder / name / "kubeconfig")
    async with AsyncClient(config=config.get(), field_manager="bench") as client:
        yield Side(f"{name}-mesh", f"{other}-mesh", folder / name, client)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(90):
            await process.wait()


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a mesh, by what it is: ``pilot``, ``lab``, or a gateway's name for its Envoy."""

    role: str
    pid: int

    @property
    def words(self) -> list[str]:
        """Its command line."""
        return Path(f"/proc/{self.pid}/cmdline").read_bytes().decode().split("\0")

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far, in user and kernel mode."""
        return processor_s(self.pid)

    @property
    def memory_mb(self) -> float:
        """Resident memory, what is shared with others included."""
        return resident_mb(self.pid)


def processes(side: Side) -> dict[str, Process]:
    """The control plane, the gateways (agent: ``<name> agent``) and the lab of one side, by role."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            if str(side.folder).encode() in (folder / "environ").read_bytes() or str(side.folder.parent) in words:
                role = _role(folder, words, side)
                found[role] = Process(role, int(folder.name))
        except OSError:
            continue  # it has ended, or is not ours to see
    found.pop("", None)
    return found


def _role(folder: Path, words: list[str], side: Side) -> str:
    if Path(words[0]).name == "envoy" and "-c" in words:
        bootstrap = folder / "cwd" / words[words.index("-c") + 1]
        return str(json.loads(bootstrap.read_text())["node"]["cluster"]).partition(".")[0]
    if "gateway" in words and "--name" in words:
        return f"{words[words.index('--name') + 1]} agent"
    if "lab" in words and "up" in words:
        return "lab" if side.folder.name in words else ""
    return "pilot" if "pilot" in words else ""


_LISTEN = "0A"


def listening_ports(address: str) -> set[int]:
    """The TCP ports at which someone listens at this address."""
    wanted = socket.inet_aton(address)[::-1].hex().upper()
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == _LISTEN and row[1].startswith(wanted)}


def rules(*extra: dict[str, Any]) -> list[dict[str, Any]]:
    """Export or import rules: the demonstration's own, and more."""
    return [{"type": "NameSelector", "nameSelector": {"namespace": "bookinfo", "name": "ratings"}}, *extra]
