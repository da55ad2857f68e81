"""A lab's API server to test with: the real one, over TLS, on a port of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus.kube import Client, connect
from isthmus.lab.apiserver.server import ApiServer, Settings

KUBECTL = Path(sys.executable).with_name("kubectl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running API server."""

    kubeconfig: Path
    port: int

    async def kubectl(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Run the real kubectl as administrator; return its exit code and everything that it says."""
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *("--kubeconfig", self.kubeconfig),
            *("--cache-dir", self.kubeconfig.with_name("cache")),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(stdin.encode())
        return process.returncode or 0, output.decode()

    async def create(self, text: str) -> None:
        """Create what the YAML says."""
        code, output = await self.kubectl("create", "-f", "-", stdin=text)
        assert code == 0, output


@asynccontextmanager
async def lab(folder: Path, *, port: int = 0) -> AsyncIterator[Lab]:
    """Run an API server for the block; the same folder and port again continue it."""
    started = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ApiServer(Settings(data_dir=folder / "data", port=port)).run(started))
        running = await started
        kubeconfig = folder / "kubeconfig"
        await asyncio.to_thread(running.kubeconfig().write, kubeconfig)
        yield Lab(kubeconfig=kubeconfig, port=running.port)
        task.cancel()


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[tuple[Lab, Client]]:
    """Run an API server and connect to it."""
    async with lab(folder) as cluster, connect(field_manager="test", kubeconfig=cluster.kubeconfig) as client:
        yield cluster, client


@asynccontextmanager
async def lab_process(folder: Path, *, port: int = 0) -> AsyncIterator[Lab]:
    """Run an API server in a process of its own for the block, and kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(folder), str(port)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Lab(kubeconfig=folder / "kubeconfig", port=int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


async def _serve(folder: Path, port: int) -> None:
    async with lab(folder, port=port) as cluster:
        sys.stdout.write(f"{cluster.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
