"""Envoy as a child process: started, restarted when it dies, stopped gracefully, never left behind."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from isthmus.backoff import Backoff
from isthmus.gateway.admin import Admin, AdminError
from isthmus.gateway.settings import GatewaySettings, Role

log = structlog.get_logger(__name__)

# An Envoy that lived this long had started well: the next failure counts as the first.
SETTLED_S = 30.0
RESTART = Backoff(first_s=0.2, longest_s=10.0)
TERMINATION_S = 5.0
DRAIN_POLL_S = 0.1
REVOKED_S = 1
"""How long a connection may go on whose listener or filter chain is gone: a peer has lost the right to it, or what it
led to is imported no longer."""

# What is news to the operator of a gateway is not what Envoy tells at the same level.
ENVOY_LOG_LEVELS = {"debug": "debug", "info": "warning", "warning": "warning", "error": "error"}

_TETHER = Path(__file__).with_name("tether.py")


MOST_PORTS = 16_768
"""Gateway ports of an egress gateway; Envoy keeps a file for each port and worker, and aborts when it may open no more
(docs/adr/0010)."""
OTHER_FILES = 4_000


def workers(settings: GatewaySettings, *, open_files: int) -> int:
    """How many workers Envoy gets: one for an egress gateway whose files would not do for more."""
    needed = settings.concurrency * MOST_PORTS + OTHER_FILES
    is_tight = settings.role is Role.EGRESS and 0 <= open_files < needed
    return 1 if is_tight else settings.concurrency


def envoy_command(envoy: Path, bootstrap: Path, settings: GatewaySettings, *, open_files: int = -1) -> list[str]:
    """The command line; everything that can be in the bootstrap is there. ``open_files``: how many, -1 for any."""
    return [
        str(envoy),
        *("-c", str(bootstrap)),
        "--disable-hot-restart",
        *("--concurrency", str(workers(settings, open_files=open_files))),
        *("--drain-time-s", str(REVOKED_S)),
        # Access logs are read while a person waits for the line.
        *("--file-flush-interval-msec", "200"),
        *("--log-level", ENVOY_LOG_LEVELS[settings.log_level]),
    ]


class EnvoyProcess:
    """One Envoy at a time. It writes to this process's standard output, both its own log and the access logs."""

    def __init__(
        self,
        command: Sequence[str],
        admin: Admin,
        *,
        directory: Path,
        drain_time_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._command = command
        self._admin = admin
        self._directory = directory
        self._drain_time_s = drain_time_s
        self._jitter = jitter
        self._draining = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process now, and it is not to end."""
        return self._process is not None and self._process.returncode is None and not self._draining

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last; 0 before the first."""
        return self._process.pid if self._process is not None else 0

    async def run(self) -> None:
        """Keep Envoy running until cancelled; then it drains, is terminated, and has ended when this returns.

        Cancelled once more, it is terminated without waiting for the drain.
        """
        failures = 0
        while True:
            started = time.monotonic()
            how = how_it_ended(await self._run_once())
            failures = 1 if time.monotonic() - started > SETTLED_S else failures + 1
            pause_s = RESTART.delay_s(failures, jitter=self._jitter())
            log.info("envoy ended", how=how, restart_in_s=round(pause_s, 2))
            await asyncio.sleep(pause_s)

    async def _drain(self) -> None:
        """Refuse new connections and give those that are open the drain time to end; returns early if all have."""
        self._draining = True
        log.info("envoy is draining", at_most_s=self._drain_time_s)
        try:
            async with asyncio.timeout(self._drain_time_s):
                await self._admin.drain()
                while await self._admin.active_connections():  # noqa: ASYNC110  (Envoy can only be asked)
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            log.info("connections are left at the end of the drain time")
        except AdminError as error:
            log.info("envoy cannot be drained", reason=str(error))

    async def _run_once(self) -> int:
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())),
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._directory,
            # Ctrl-C is for the agent, which drains first.
            process_group=0,
        )
        log.info("envoy started", pid=process.pid)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await self._drain()
            raise
        finally:
            if process.returncode is None:
                await _terminate(process)


def how_it_ended(returncode: int) -> str:
    """The exit status as a person says it."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


async def _terminate(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(TERMINATION_S):
            await process.wait()
    except TimeoutError:
        log.info("envoy does not end and is killed", pid=process.pid)
        process.kill()
        await process.wait()
    log.info("envoy stopped", pid=process.pid)
