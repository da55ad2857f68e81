"""The steps of the demonstration, each as an administrator would do it.

The administrators work side by side, one a cluster; what one has to give to the others (the root certificate) is
carried over explicitly.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from isthmus.demo.commands import ISTHMUS, CommandError, Kubectl, run, running
from isthmus.demo.report import PeerReport, Report, RequestReport
from isthmus.demo.site import Site, example_of, json_object

STEP_TIMEOUT_S = 60
ROOT_KEY = "root-cert.pem"
_WATCHED = "jsonpath={.metadata.name} {.status.discoveryStatus}{'\\n'}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """``repository`` holds ``examples`` and ``deploy``; ``data_dir`` is the labs' folder, which others remove.

    ``clusters``: one a mesh; there must be an example with just these (:func:`isthmus.demo.site.example_of`).
    """

    repository: Path
    data_dir: Path
    kubectl: Path
    clusters: tuple[str, ...] = ("red", "green")


Progress = Callable[[str, float], None]
"""Is told each step that is done, and how many seconds it took."""


class Demonstration:
    """Brings up the meshes and federates each with each; ``report`` is filled in as it goes."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        """Find the files; nothing is started. Raises UnknownMeshesError if there is no example of these meshes."""
        self._settings = settings
        self._progress = progress
        files = example_of(settings.repository, settings.clusters)
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
            await self._first_requests()
            await self._read_peers()
            yield self.report

    async def _start_clusters(self, stack: AsyncExitStack) -> None:
        with self._step(f"{len(self.sites)} clusters", "clusters_ready"):
            async with asyncio.timeout(STEP_TIMEOUT_S):
                started = [(site, await stack.enter_async_context(self._cluster(site))) for site in self.sites]
                for site, process in started:
                    await self._cluster_ready(site, process)

    @asynccontextmanager
    async def _cluster(self, site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
        folder = self._settings.data_dir / site.cluster
        if await asyncio.to_thread(folder.exists):
            raise CommandError(f"{folder} holds a cluster of an earlier run: give --data-dir an empty folder")
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
        await site.kubectl.apply(operator, *site.control_plane)
        await site.kubectl.apply(*site.workloads)
        await site.kubectl.wait(
            "condition=Ready", "-n", site.namespace, f"servicemeshcontrolplane/{site.mesh}", timeout_s=STEP_TIMEOUT_S
        )

    async def _federate(self) -> None:
        with self._step("each the others' peer, by what it exports and imports", "peers_active"):
            roots = await self._all([self._root(site) for site in self.sites])
            given = [
                self._give_root(giver, root, taker)
                for giver, root in zip(self.sites, roots, strict=True)
                for taker in self.sites
                if taker is not giver
            ]
            await self._all(given)
            await self._all([site.kubectl.apply(*site.federation) for site in self.sites])
            await self._all([self._peers_active(site) for site in self.sites])

    async def _root(self, giver: Site) -> Path:
        """What an administrator gives to the others: the root certificate of the mesh, as a file."""
        published = await giver.kubectl.get("-n", giver.namespace, "configmap", "istio-ca-root-cert")
        root = self._settings.data_dir / f"{giver.mesh}-{ROOT_KEY}"
        await asyncio.to_thread(root.write_text, published["data"][ROOT_KEY])
        return root

    async def _give_root(self, giver: Site, root: Path, taker: Site) -> None:
        """And what they do with it: a ConfigMap of theirs."""
        name = f"{giver.mesh}-ca-root-cert"
        await taker.kubectl.run("create", "configmap", name, "-n", taker.namespace, f"--from-file={ROOT_KEY}={root}")

    async def _peers_active(self, site: Site) -> None:
        """Wait until all peers of ``site`` are active in both directions."""
        missing = {other.mesh for other in self.sites if other is not site}
        what = ("get", "-n", site.namespace, "servicemeshpeers", "--watch", "-o", _WATCHED)
        async with asyncio.timeout(STEP_TIMEOUT_S), site.kubectl.follow(*what) as lines:
            while line := await lines.readline():
                name, _, status = line.decode().partition(" ")
                if PeerReport(site.mesh, name, {"discoveryStatus": json_object(status)}).is_active:
                    missing.discard(name)
                if not missing:
                    return
        raise CommandError(f"kubectl stopped watching the ServiceMeshPeers of {site.mesh}: {missing} not active")

    async def _first_requests(self) -> None:
        with self._step("a request from each client to each service it imports", "first_request"):
            async with asyncio.timeout(STEP_TIMEOUT_S):
                answers = await self._all([site.answers() for site in self.sites])
            asked = [(site, answer) for site, heard in zip(self.sites, answers, strict=True) for answer in heard]
            self.report.requests += await self._all([self._request(site, answer) for site, answer in asked])

    async def _request(self, caller: Site, answer: Any) -> RequestReport:
        """One request, with what the mesh that answered it knows of the caller."""
        url, served_by = answer["url"], answer["body"]["servedBy"]
        (server,) = [site for site in self.sites if site.mesh == served_by]
        identity = await self._until(
            lambda: server.identity_of(caller, url), f"no request for {url} in the access log of {served_by}"
        )
        return RequestReport(caller.mesh, url, answer["status"], served_by, identity)

    async def _read_peers(self) -> None:
        """All peers at one time, active all of them: a gateway that learns of one more peer may end what is open."""

        async def read() -> list[PeerReport]:
            peers = [peer for site in await self._all([site.peers() for site in self.sites]) for peer in site]
            return peers if all(peer.is_active for peer in peers) else []

        self.report.peers += await self._until(read, "not every peer was active in both directions")

    async def _all(self, works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """All of these side by side; what they return, in their order."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in works]
        return [task.result() for task in running]

    async def _until(self, ask: Callable[[], Awaitable[T]], failure: str) -> T:
        """The first answer that is not empty."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                while not (answer := await ask()):  # noqa: ASYNC110  (what is waited for is outside of this process)
                    await asyncio.sleep(0.05)
                return answer
        except TimeoutError as error:
            raise CommandError(f"{failure} within {STEP_TIMEOUT_S} s") from error

    @contextmanager
    def _step(self, what: str, timing: str) -> Any:
        began = monotonic()
        late: list[BaseException] = []
        try:
            yield
        except* TimeoutError as group:
            late.append(group)
        if late:  # raised outside of except*, which would wrap it in a group again
            raise CommandError(f"{what}: not done within {STEP_TIMEOUT_S} s") from late[0]
        self.report.timings_s[timing] = monotonic() - self._began
        self._progress(what, monotonic() - began)

    @property
    def _data_dir(self) -> list[str]:
        return ["--data-dir", str(self._settings.data_dir)]
