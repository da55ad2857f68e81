"""Commands as processes: kubectl for one cluster, and the labs themselves."""

import asyncio
import ctypes
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ISTHMUS = (sys.executable, "-m", "isthmus.cli")
STOP_TIMEOUT_S = 15.0


class CommandError(Exception):
    """A command failed; the message has the command and what it said."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl, for one cluster. Every method raises CommandError when kubectl fails."""

    program: Path
    kubeconfig: Path

    async def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What kubectl prints."""
        return await run([str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments], stdin=stdin)

    async def apply(self, *files: Path) -> None:
        """Apply files, in this order."""
        await self.run("apply", *(option for file in files for option in ("-f", str(file))))

    async def get(self, *arguments: str) -> Any:
        """An object, as JSON."""
        return json.loads(await self.run("get", *arguments, "-o", "json"))

    async def wait(self, what: str, *arguments: str, timeout_s: int) -> None:
        """Wait for a condition of an object that exists."""
        await self.run("wait", f"--for={what}", *arguments, f"--timeout={timeout_s}s")

    @asynccontextmanager
    async def follow(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        """What kubectl prints while it watches or follows, until the end of the block."""
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments]
        async with running(command, stdout=asyncio.subprocess.PIPE) as process:
            if process.stdout is None:
                raise CommandError(f"{' '.join(command)}: no output")
            yield process.stdout


async def run(command: Sequence[str], *, stdin: bytes | None = None) -> str:
    """What a command prints; CommandError if it fails. A command that is waited for no longer is ended."""
    async with running(
        command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    ) as process:
        out, error = await process.communicate(stdin or b"")
        if process.returncode:
            said = (error or out).decode(errors="replace").strip()
            raise CommandError(f"{' '.join(command)} failed with exit status {process.returncode}: {said}")
        return out.decode()


@asynccontextmanager
async def running(command: Sequence[str], **pipes: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process for as long as the block runs; it is told to end when we do, even if we are killed."""
    process = await asyncio.create_subprocess_exec(*command, preexec_fn=_end_with_parent, **pipes)
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _end_with_parent() -> None:
    """In the child, before it becomes the command: ask the kernel for SIGTERM when the parent is gone (prctl(2)).

    And keep the terminal's Ctrl-C away from it: whoever started it ends it, in order.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
