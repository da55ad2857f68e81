"""Real processes: their start, their output, their end, and that nothing is left of them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.waiting import until

from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.processes import Output, Process, ProcessHost, StartError, WardenLostError
from isthmus.lab.node.warden import MARK, processes_marked

ENV = {"PATH": os.environ["PATH"]}


@asynccontextmanager
async def hosting(name: str) -> AsyncIterator[ProcessHost]:
    host = ProcessHost(name)
    async with asyncio.TaskGroup() as group:
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = group.create_task(host.run(started))
        await started
        yield host
        task.cancel()


async def start(host: ProcessHost, *argv: str, output: int | None = None, cwd: str = "/") -> Process:
    target = os.open(os.devnull, os.O_WRONLY) if output is None else output
    line = CommandLine(argv=list(argv), env=ENV, cwd=cwd)
    try:
        return await host.start(line, mark="pod/c", output=Output(target, target))
    finally:
        os.close(target)


@pytest.fixture
def name(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -15)])
async def test_exit_code(name: str, script: str, code: int) -> None:
    """The exit code is the process's own, a signal is its negative number."""
    async with hosting(name) as host:
        process = await start(host, "sh", "-c", script)
        assert await process.wait() == code


async def test_many_that_end_at_once(name: str) -> None:
    """A process that ends before its start is even noticed is not lost."""
    async with hosting(name) as host:
        for _ in range(50):
            process = await start(host, "true")
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("argv", "cwd", "message"),
    [(["/no/such"], "/", "No such file or directory: /no/such"), (["true"], "/no/dir", "No such file .*: /no/dir")],
    ids=["program", "directory"],
)
async def test_what_can_not_be_started(name: str, argv: list[str], cwd: str, message: str) -> None:
    """The error names what is not there."""
    async with hosting(name) as host:
        with pytest.raises(StartError, match=message):
            await start(host, *argv, cwd=cwd)


async def test_a_container_starts_clean(name: str) -> None:
    """It has its own session, default signals, no open files but its three, and a usual umask."""
    script = (
        "import os, signal\n"
        "print(os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL, os.umask(0) == 0o22)\n"
        "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')))\n"
    )
    # The interpreter itself sets SIGPIPE: what it was given is seen in /proc.
    script += "print([line.split()[1] for line in open(f'/proc/{os.getppid()}/status') if line.startswith('SigIgn')])\n"
    read, write = os.pipe()
    async with hosting(name) as host:
        shell = f'{sys.executable} -I -c "$0"; true'
        process = await start(host, "sh", "-c", shell, script, output=write)
        assert await process.wait() == 0
    with os.fdopen(read) as output:
        lines = output.read().splitlines()
    assert lines[0].split()[2] == "True"
    assert lines[1] == "[0, 1, 2]"
    assert int(lines[2].strip("[]'"), 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert int(lines[2].strip("[]'"), 16) & (1 << (signal.SIGTERM - 1)) == 0


async def test_the_end_of_the_first_is_the_end_of_all(name: str) -> None:
    """When a container's first process ends, children that have left its session go as well."""
    async with hosting(name) as host:
        script = "setsid sleep 1000 & setsid setsid sleep 1000 & sleep 1000 & sleep 0.1"
        process = await start(host, "sh", "-c", script)
        await until(lambda: len(processes_marked(name)) >= 5)
        await process.wait()
        await until(lambda: not processes_marked(name))


async def test_kill_reaches_all(name: str) -> None:
    """A killed container leaves nothing, whatever its processes do about signals."""
    async with hosting(name) as host:
        process = await start(host, "sh", "-c", "trap '' TERM; setsid sleep 1000 & while true; do sleep 0.1; done")
        await until(lambda: len(processes_marked(name)) >= 3)
        process.signal(signal.SIGTERM)
        process.kill()
        assert await process.wait() == -9
        await until(lambda: not processes_marked(name))


async def test_the_end_of_the_host_is_the_end_of_all(name: str) -> None:
    """An orderly end leaves nothing either."""
    async with hosting(name) as host:
        await start(host, "sh", "-c", "setsid sleep 1000 & sleep 1000")
        await until(lambda: len(processes_marked(name)) >= 3)
    assert not processes_marked(name)


HOST_SCRIPT = """
import asyncio, os, sys
from isthmus.lab.node.environment import CommandLine
from isthmus.lab.node.processes import Output, ProcessHost

async def main():
    host = ProcessHost(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        started = asyncio.get_running_loop().create_future()
        group.create_task(host.run(started))
        await started
        script = "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000"
        line = CommandLine(argv=["sh", "-c", script], env={"PATH": os.environ["PATH"]}, cwd="/")
        await host.start(line, mark="pod/c", output=Output(1, 2))
        await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_kill_9_of_the_host_leaves_nothing(name: str) -> None:
    """Within 2 s of a kill -9 of the node all that it started is gone, daemons of its containers included."""
    node = background(sys.executable, "-c", HOST_SCRIPT, name)
    try:
        await until(lambda: len(processes_marked(name)) >= 5)
    finally:
        node.kill()
        node.wait()
    await until(lambda: not processes_marked(name), within_s=2)


async def test_the_end_of_the_warden_ends_the_host(name: str) -> None:
    """A node that has lost its containers says so; the kernel has killed them."""
    host = ProcessHost(name)
    with pytest.RaisesGroup(WardenLostError):
        async with asyncio.TaskGroup() as group:
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            group.create_task(host.run(started))
            await started
            process = await start(host, "sleep", "1000")
            with suppress(asyncio.CancelledError):
                os.kill(parent_of(process.pid), signal.SIGKILL)
                await process.wait()
    await until(lambda: not processes_marked(name))


async def test_what_an_earlier_life_left_is_killed(name: str) -> None:
    """A host that starts again first ends what carries its name."""
    left = background("sleep", "1000", mark=f"{name}/pod/c/1")
    async with hosting(name):
        assert left.wait(timeout=1) == -9


def background(*argv: str, mark: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, MARK: mark})


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
