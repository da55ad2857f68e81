"""The parent of all containers: a small process that outlives neither its work nor the node.

It runs alone (``python -I -S warden.py FD``) and imports nothing of this project, so that a fork is cheap. The node
speaks with it over a SOCK_SEQPACKET socket: one JSON object a message, file descriptors beside it.

    {"op": "start", "id": ID} + [specification, stdout, stderr]   ->  {"id": ID, "pid": N} or {"id": ID, "error": "..."}
    {"op": "signal", "id": ID, "signal": N}                       to the container's first process
    {"op": "kill", "id": ID}                                      SIGKILL to all of the container
                                                                  ->  {"id": ID, "exit": code, or -signal}

The specification is a memory file with JSON: ``argv``, ``env``, ``cwd``. A container is a session of its own; when its
first process ends, everything else of it is killed, as with a process-id namespace. The end of the socket means that
the node is gone: then everything that was ever started here is killed, and the warden ends. Should the warden itself
be killed, the kernel kills the containers (PR_SET_PDEATHSIG).
"""

import array
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MARK = "ISTHMUS_LAB_CONTAINER"
MESSAGE_BYTES = 4096
LAST_SWEEP_S = 2.0
KILL_ROUNDS = 20

libc = ctypes.CDLL(None, use_errno=True)


def processes_marked(prefix: str) -> list[int]:
    """The processes whose environment says that they belong to the container ``prefix``, or to one below it."""
    wanted = f"{MARK}={prefix}".encode()
    below = wanted + b"/"
    return [pid for pid in _pids() if any(e == wanted or e.startswith(below) for e in _environ(pid))]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - pathlib is slow to import


def _environ(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - likewise
            return file.read().split(b"\0")
    except OSError:  # gone meanwhile, or someone else's
        return []


def kill_marked(prefix: str) -> int:
    """SIGKILL everything that is marked so; how many there were."""
    found = [pid for pid in processes_marked(prefix) if pid != os.getpid()]
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def _children(parent: int) -> list[int]:
    found = []
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - likewise
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(pid)
    return found


class Warden:
    """The containers that run, by their id and by the process id of their first process."""

    def __init__(self, node: socket.socket) -> None:
        self._node = node
        self._pids: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def run(self) -> None:
        """Serve the node until it is gone, then leave nothing behind."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)  # not SIG_IGN: that would be inherited
        while self._serve(wake_read):
            self._reap()
        self._leave_nothing()

    def _serve(self, wake: int) -> bool:
        """Wait for a message or a signal, and act; False when the node is gone."""
        ready, _, _ = select.select([self._node.fileno(), wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        if self._node.fileno() not in ready:
            return True
        message, descriptors = self._receive()
        if not message:
            return False
        self._act(json.loads(message), descriptors)
        return True

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, ancillary, _, _ = self._node.recvmsg(MESSAGE_BYTES, socket.CMSG_LEN(3 * array.array("i").itemsize))
        except ConnectionError:
            return b"", []
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return message, list(descriptors)

    def _act(self, message: dict[str, Any], descriptors: list[int]) -> None:
        container = message["id"]
        if message["op"] == "start":
            self._start(container, descriptors)
        elif (pid := self._pids.get(container)) is None:
            return
        elif message["op"] == "signal":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, message["signal"])
        elif message["op"] == "kill":
            self._kill(container, pid)

    def _start(self, container: str, descriptors: list[int]) -> None:
        try:
            with os.fdopen(descriptors[0], "rb") as file:
                file.seek(0)
                specification = json.load(file)
            pid = _spawn(specification, stdout=descriptors[1], stderr=descriptors[2])
        except OSError as error:
            self._tell({"id": container, "error": f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")})
        else:
            self._pids[container], self._ids[pid] = pid, container
            self._tell({"id": container, "pid": pid})
        finally:
            for descriptor in descriptors[1:]:
                os.close(descriptor)

    def _kill(self, container: str, pid: int) -> None:
        """Kill all of a container; its first process must not have been waited for yet."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        for _ in range(KILL_ROUNDS):  # whoever was born while we looked is seen in the next round
            if not kill_marked(container):
                return
            time.sleep(0.001)

    def _reap(self) -> None:
        while True:
            try:
                # Looked at before it is waited for: until then nobody else can be given its process id.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            container = self._ids.pop(ended.si_pid, None)
            if container is not None:
                self._pids.pop(container, None)
                self._finish(container, ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            if container is not None:
                self._tell({"id": container, "exit": os.waitstatus_to_exitcode(status)})

    def _finish(self, container: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        if any(child not in self._ids and child != pid for child in _children(os.getpid())):
            kill_marked(container)  # an orphan has come to us: something of the container has left its session

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            self._node.send(json.dumps(message).encode())

    def _leave_nothing(self) -> None:
        deadline = time.monotonic() + LAST_SWEEP_S
        while time.monotonic() < deadline:
            children = _children(os.getpid())  # a subreaper's orphans become its children, so this ends with none
            if not children:
                return
            for pid in [*children, *(grandchild for child in children for grandchild in _children(child))]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.002)


def _spawn(specification: dict[str, Any], *, stdout: int, stderr: int) -> int:
    """Fork and execute; the process id. Raises OSError if the program can't be executed."""
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    warden = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(specification, stdout=stdout, stderr=stderr, error=error_write, warden=warden)
    os.close(error_write)
    with os.fdopen(error_read, "rb") as file:
        failure = file.read()  # empty as soon as the program is executed
    if failure:
        os.waitpid(pid, 0)
        number, _, path = failure.decode().partition(":")
        raise OSError(int(number), os.strerror(int(number)), path)
    return pid


def _become(specification: dict[str, Any], *, stdout: int, stderr: int, error: int, warden: int) -> None:
    argv = specification["argv"]
    path = argv[0]
    try:
        os.setsid()
        os.umask(0o022)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != warden:
            os._exit(1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
            signal.signal(number, signal.SIG_DFL)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        path = specification["cwd"]
        os.chdir(path)
        path = argv[0]
        os.execvpe(argv[0], argv, specification["env"])  # noqa: S606 - a list of words, and no shell
    except OSError as failure:
        os.write(error, f"{failure.errno}:{path}".encode())
    os._exit(127)


def main() -> None:
    """Serve the node at the other end of the socket whose descriptor is the first argument."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    node = int(sys.argv[1])
    os.set_inheritable(node, False)  # else a container could hold the line to the node open
    Warden(socket.socket(fileno=node)).run()


if __name__ == "__main__":
    main()
