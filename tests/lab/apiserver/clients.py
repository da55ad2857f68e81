"""Running a real API server on a free port, and clients for it: kubectl and plain HTTP over TLS."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from isthmus.lab.apiserver import ApiServer, Settings, Started
from isthmus.lab.pod_logs import PodLogs

KUBECTL = Path(sys.executable).with_name("kubectl")


@asynccontextmanager
async def running(settings: Settings, *, logs: PodLogs | None = None) -> AsyncIterator[Started]:
    """A server for the time of the block."""
    started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ApiServer(settings, logs=logs).run(started))
        try:
            yield await started
        finally:
            task.cancel()


@dataclass(frozen=True, slots=True)
class Output:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl against one server, with a cache and a home of its own."""

    home: Path
    kubeconfig: Path
    options: Sequence[str] = field(default=())

    async def start(self, *args: str, **more: Any) -> asyncio.subprocess.Process:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.home / "cache"),
        }
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            str(KUBECTL), *self.options, *args, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, **more
        )

    async def run(self, *args: str, stdin: str = "") -> Output:
        process = await self.start(*args)
        async with asyncio.timeout(20):
            out, err = await process.communicate(stdin.encode())
        return Output(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *args: str, stdin: str = "") -> str:
        """What a command prints; it must succeed."""
        output = await self.run(*args, stdin=stdin)
        assert output.code == 0, f"kubectl {' '.join(args)}: {output.err}"
        return output.out

    async def json(self, *args: str) -> Any:
        return json.loads(await self(*args, "-o", "json"))


async def kubectl_for(server: Started, home: Path) -> Kubectl:
    path = home / "kubeconfig"
    await asyncio.to_thread(server.kubeconfig().write, path)
    return Kubectl(home, path)


def http_client(server: Started, *, token: str | None = None) -> httpx2.AsyncClient:
    """A plain HTTP client that trusts the server; as the administrator unless another token ("" = none) is given."""
    context = ssl.create_default_context(cadata=server.ca.decode())
    used = server.admin_token if token is None else token
    headers = {"Authorization": f"Bearer {used}"} if used else {}
    return httpx2.AsyncClient(base_url=server.url, verify=context, headers=headers, timeout=10)
