"""The output of a process on its way into a log: two pipes, read as they fill."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime

from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.log_files import ContainerLog
from isthmus.lab.node.processes import Output, Process, ProcessHost

OUTPUT_END_S = 0.5
EXEC_OUTPUT_BYTES = 1024


class Capture:
    """Pipes for the block's time; at its end waits a moment for the last output."""

    def __init__(self, container_log: ContainerLog) -> None:
        self._log = container_log
        self._writers: list[int] = []
        self._ends: list[_Stream] = []

    @property
    def output(self) -> Output:
        """The writing ends."""
        return Output(stdout=self._writers[0], stderr=self._writers[1])

    async def __aenter__(self) -> "Capture":
        loop = asyncio.get_running_loop()
        for name in ("stdout", "stderr"):
            read, write = os.pipe2(os.O_CLOEXEC)
            self._writers.append(write)
            stream = _Stream(name, self._log)
            await loop.connect_read_pipe(lambda s=stream: s, os.fdopen(read, "rb", buffering=0))  # type: ignore[misc]  # mypy does not see the default
            self._ends.append(stream)
        return self

    def release(self) -> None:
        """Close our copies of the writing ends, so that the end of the container is the end of the output."""
        while self._writers:
            os.close(self._writers.pop())

    async def __aexit__(self, *_: object) -> None:
        self.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_END_S):
                for stream in self._ends:
                    await stream.ended.wait()
        for stream in self._ends:
            stream.close()


class _Stream(asyncio.Protocol):
    def __init__(self, name: str, container_log: ContainerLog) -> None:
        self._name = name
        self._log = container_log
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._log.closed:
            self._log.write(self._name, data, now=datetime.now(UTC))

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def output_of(processes: ProcessHost, command: CommandLine, *, mark: str, timeout_s: float) -> tuple[int, str]:
    """Run a command to its end; its exit code and the beginning of its output.

    Raises StartError if it can't be executed, TimeoutError if it takes longer: it is killed then.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            process = await processes.start(command, mark=mark, output=Output(write, write))
        finally:
            os.close(write)
        return await _finished(process, timeout_s), _beginning(read)
    finally:
        os.close(read)


async def _finished(process: Process, timeout_s: float) -> int:
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    finally:
        if process.exit is None:
            process.kill()


def _beginning(read: int) -> str:
    os.set_blocking(read, False)
    try:
        return os.read(read, EXEC_OUTPUT_BYTES).decode(errors="replace").strip()
    except BlockingIOError:
        return ""
