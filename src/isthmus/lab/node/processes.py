"""The node's end of the warden: start a process, signal it, learn of its end."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from isthmus.lab.node import warden
from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.warden import MARK, MESSAGE_BYTES, kill_marked

log = structlog.get_logger()

LEAVE_S = 3.0


class StartError(OSError):
    """A program could not be executed: it is not there, or may not be."""


class WardenLostError(RuntimeError):
    """The warden is gone, and with it all containers: the node can't go on."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a process writes: file descriptors, which the caller closes after the start."""

    stdout: int
    stderr: int


class Process:
    """One started process, the first of its container."""

    def __init__(self, host: "ProcessHost", container: str, pid: int) -> None:
        self._host = host
        self._container = container
        self.pid = pid
        self.exit: int | None = None
        self.ended = asyncio.Event()

    def signal(self, number: int) -> None:
        """Send a signal to the first process; nothing happens if it has ended."""
        self._host.send({"op": "signal", "id": self._container, "signal": int(number)})

    def kill(self) -> None:
        """Kill all processes of the container."""
        self._host.send({"op": "kill", "id": self._container})

    async def wait(self) -> int:
        """The exit code, or minus the number of the signal that ended it."""
        await self.ended.wait()
        return -9 if self.exit is None else self.exit


class ProcessHost:
    """All processes of one node. ``name`` marks them, so that what an earlier life left behind is found."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket: socket.socket | None = None
        self._processes: dict[str, Process] = {}
        self._starting: dict[str, asyncio.Future[Process]] = {}
        self._sequence = 0
        self._lost = asyncio.Event()

    async def run(self, started: asyncio.Future[None]) -> None:
        """Serve until cancelled; then everything that was started is killed.

        Raises WardenLostError if the warden ends by itself.
        """
        if left := await asyncio.to_thread(kill_marked, self._name):
            log.info("killed processes of an earlier run", count=left)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            child = _spawn_warden(theirs)
        self._socket = ours
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._readable)
        try:
            started.set_result(None)
            await self._lost.wait()
            raise WardenLostError(f"Running containers: the warden (process {child.pid}) ended; all of them are gone")
        finally:
            loop.remove_reader(ours.fileno())
            self._socket = None
            ours.close()
            await asyncio.to_thread(_wait, child)

    async def start(self, command: CommandLine, *, mark: str, output: Output) -> Process:
        """Execute a command as a container of its own.

        Raises StartError if the program can't be executed.
        """
        self._sequence += 1
        container = f"{self._name}/{mark}/{self._sequence}"
        env = {**command.env, MARK: container}
        descriptor = os.memfd_create("container", os.MFD_CLOEXEC)
        try:
            content = json.dumps({"argv": command.argv, "env": env, "cwd": command.cwd})
            os.write(descriptor, content.encode("utf-8", "surrogateescape"))
            future: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
            self._starting[container] = future
            self.send({"op": "start", "id": container}, [descriptor, output.stdout, output.stderr])
        finally:
            os.close(descriptor)
        return await future

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Tell the warden; nothing happens if it is gone, for then the containers are gone too."""
        if self._socket is not None:
            with suppress(ConnectionError):
                socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors or [])

    def _readable(self) -> None:
        while self._socket is not None:
            try:
                message = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                message = b""
            if not message:
                self._lost.set()
                return
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        container = message["id"]
        if "exit" in message:
            process = self._processes.pop(container)
            process.exit = message["exit"]
            process.ended.set()
            return
        future = self._starting.pop(container)
        if "error" in message:
            if not future.done():
                future.set_exception(StartError(message["error"]))
            return
        process = self._processes[container] = Process(self, container, message["pid"])
        if not future.done():
            future.set_result(process)
        else:  # nobody waits for it any more
            process.kill()


def _spawn_warden(end: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", warden.__file__, str(end.fileno())],
        pass_fds=(end.fileno(),),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
