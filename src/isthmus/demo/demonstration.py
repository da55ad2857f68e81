"""The steps of the demonstration, each as an administrator would do it.

Two administrators work side by side, one a cluster; what one has to give to the other (the root certificate) is carried
over explicitly.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from isthmus.demo.commands import ISTHMUS, CommandError, Kubectl, run, running
from isthmus.demo.report import PeerReport, Report, RequestReport

STEP_TIMEOUT_S = 60
SERVICE = "ratings"
ROOT_KEY = "root-cert.pem"


@dataclass(frozen=True, slots=True)
class Settings:
    """``repository`` holds ``examples`` and ``deploy``; ``data_dir`` is the labs' folder, which others remove."""

    repository: Path
    data_dir: Path
    kubectl: Path
    clusters: tuple[str, str] = ("red", "green")


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster with its mesh."""

    cluster: str
    files: Path
    kubectl: Kubectl

    @property
    def mesh(self) -> str:
        return f"{self.cluster}-mesh"

    @property
    def namespace(self) -> str:
        return f"{self.mesh}-system"


Progress = Callable[[str, float], None]
"""Is told each step that is done, and how many seconds it took."""


class Demonstration:
    """Brings up two meshes and federates them; ``report`` is filled in as it goes."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        files = settings.repository / "examples" / "two-meshes"
        self.sites = tuple(
            Site(name, files / name, Kubectl(settings.kubectl, settings.data_dir / name / "kubeconfig"))
            for name in settings.clusters
        )
        self.report = Report(meshes=tuple(site.mesh for site in self.sites))
        self._began = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Report]:
        """Everything up and federated within the block; nothing of it after the block.

        Raises:
            CommandError: a step failed; the message has its command and what it said.
        """
        async with AsyncExitStack() as stack:
            self._began = monotonic()
            await self._start_clusters(stack)
            await self._start_meshes()
            await self._federate()
            await self._first_request()
            await self._read_peers()
            yield self.report

    async def _start_clusters(self, stack: AsyncExitStack) -> None:
        with self._step("two clusters", "clusters_ready"):
            async with asyncio.timeout(STEP_TIMEOUT_S):
                started = [(site, await stack.enter_async_context(self._cluster(site))) for site in self.sites]
                for site, process in started:
                    await self._cluster_ready(site, process)

    @asynccontextmanager
    async def _cluster(self, site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
        with self._log_of(site).open("wb") as log:
            command = [*ISTHMUS, "lab", "up", site.cluster, "--foreground", *self._data_dir]
            async with running(command, stdout=log, stderr=log) as process:
                yield process

    async def _cluster_ready(self, site: Site, process: asyncio.subprocess.Process) -> None:
        ready = self._settings.data_dir / site.cluster / "ready"
        while not await asyncio.to_thread(ready.exists):
            if process.returncode is not None:
                log = await asyncio.to_thread(self._log_of(site).read_text, errors="replace")
                raise CommandError(f"cluster {site.cluster} ended with status {process.returncode}: {log[-2000:]}")
            await asyncio.sleep(0.02)

    def _log_of(self, site: Site) -> Path:
        return self._settings.data_dir / f"{site.cluster}.log"

    async def _start_meshes(self) -> None:
        with self._step("a mesh in each: operator, control plane, gateways", "meshes_ready"):
            crds = (await run([*ISTHMUS, "crds"])).encode()
            async with asyncio.TaskGroup() as tasks:
                for site in self.sites:
                    tasks.create_task(self._start_mesh(site, crds), name=f"mesh of {site.cluster}")

    async def _start_mesh(self, site: Site, crds: bytes) -> None:
        await site.kubectl.run("apply", "--server-side", "-f", "-", stdin=crds)
        operator = self._settings.repository / "deploy" / "operator.yaml"
        await site.kubectl.apply(operator, site.files / "namespaces.yaml", site.files / "smcp.yaml")
        workloads = "ratings.yaml" if (site.files / "ratings.yaml").exists() else "client.yaml"
        dns = [file for file in (site.files / "kube-dns.yaml",) if file.exists()]
        await site.kubectl.apply(*dns, site.files / workloads)
        await site.kubectl.wait(
            "condition=Ready", "-n", site.namespace, f"servicemeshcontrolplane/{site.mesh}", timeout_s=STEP_TIMEOUT_S
        )

    async def _federate(self) -> None:
        with self._step("each the other's peer; ratings exported by green, imported by red", "peers_active"):
            red, green = self.sites
            await self._give_root(green, red)
            await self._give_root(red, green)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._peer(red, green, "importedserviceset.yaml"))
                tasks.create_task(self._peer(green, red, "exportedserviceset.yaml"))

    async def _give_root(self, giver: Site, taker: Site) -> None:
        """What the two administrators do by hand: the root certificate of one mesh, into a ConfigMap of the other."""
        published = await giver.kubectl.get("-n", giver.namespace, "configmap", "istio-ca-root-cert")
        root = self._settings.data_dir / f"{giver.mesh}-{ROOT_KEY}"
        await asyncio.to_thread(root.write_text, published["data"][ROOT_KEY])
        name = f"{giver.mesh}-ca-root-cert"
        await taker.kubectl.run("create", "configmap", name, "-n", taker.namespace, f"--from-file={ROOT_KEY}={root}")

    async def _peer(self, site: Site, other: Site, services: str) -> None:
        await site.kubectl.apply(site.files / "servicemeshpeer.yaml", site.files / services)
        what = ("get", "-n", site.namespace, "servicemeshpeer", other.mesh)
        status = "jsonpath={.status.discoveryStatus}{'\\n'}"
        async with asyncio.timeout(STEP_TIMEOUT_S), site.kubectl.follow(*what, "--watch", "-o", status) as lines:
            while line := await lines.readline():
                if line.strip() and PeerReport(site.mesh, other.mesh, {"discoveryStatus": json.loads(line)}).is_active:
                    return
        raise CommandError(f"kubectl stopped watching ServiceMeshPeer {site.namespace}/{other.mesh}")

    async def _first_request(self) -> None:
        with self._step(f"a request from red to {SERVICE} in green", "first_request"):
            red, green = self.sites
            async with (
                asyncio.timeout(STEP_TIMEOUT_S),
                red.kubectl.follow("logs", "-f", "-n", "bookinfo", "deploy/client") as log,
            ):
                answer = await _first_success(log)
        identity = await self._identity_seen_by(green, red)
        self.report.requests.append(
            RequestReport(red.mesh, answer["url"], answer["status"], answer["body"]["servedBy"], identity)
        )

    async def _identity_seen_by(self, site: Site, caller: Site) -> str:
        """Who ``site``'s ingress gateway let in, from its access log."""
        logs = ("logs", "-n", site.namespace, f"deploy/ingress-{caller.mesh}")
        found: list[str] = []

        async def seen() -> bool:
            for line in (await site.kubectl.run(*logs)).splitlines():
                entry = json.loads(line) if line.startswith("{") else {}
                if entry.get("kind") == "connection" and SERVICE in entry.get("server_name", ""):
                    found.append(entry.get("client", ""))
            return bool(found)

        await self._until(seen, f"no request for {SERVICE} in the access log of ingress-{caller.mesh}")
        return found[0]

    async def _read_peers(self) -> None:
        for site in self.sites:
            for other in self.sites:
                if other is not site:
                    peer = await site.kubectl.get("-n", site.namespace, "servicemeshpeer", other.mesh)
                    self.report.peers.append(PeerReport(site.mesh, other.mesh, peer.get("status") or {}))

    async def _until(self, condition: Callable[[], Any], failure: str) -> None:
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                while not await condition():  # noqa: ASYNC110  (what is waited for is outside of this process)
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise CommandError(f"{failure} within {STEP_TIMEOUT_S} s") from error

    @contextmanager
    def _step(self, what: str, timing: str) -> Any:
        began = monotonic()
        yield
        self.report.timings_s[timing] = monotonic() - self._began
        self._progress(what, monotonic() - began)

    @property
    def _data_dir(self) -> list[str]:
        return ["--data-dir", str(self._settings.data_dir)]


async def _first_success(log: asyncio.StreamReader) -> Any:
    """The client's first answer with status 200."""
    while line := await log.readline():
        entry = json.loads(line) if line.startswith(b"{") else {}
        if entry.get("status") == 200:
            return entry
    raise CommandError("the client ended without an answer")
