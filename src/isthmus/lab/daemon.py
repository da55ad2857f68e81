"""The process of a cluster, seen from outside: start it in the background, wait for it, end it.

Does not import what a cluster is made of, so that the command line is quick.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import yaml

from isthmus.lab.clusters import ClusterFolder, folders, write_private
from isthmus.lab.errors import ClusterError

START_S, STOP_S, POLL_S, FOLLOW_S = 30.0, 15.0, 0.02, 0.1
LOG_TAIL_LINES = 5


def merge_kubeconfigs(root: Path, *, current: str | None = None) -> Path | None:
    """One file with a context for each cluster: ``<root>/kubeconfig``. None if there is no cluster.

    ``current`` is the context to begin with; without it the first.
    """
    documents = [yaml.safe_load(f.kubeconfig.read_text()) for f in folders(root) if f.kubeconfig.exists()]
    path = root / "kubeconfig"
    if not documents:
        path.unlink(missing_ok=True)
        return None
    merged = {**documents[0]}
    for key in ("clusters", "users", "contexts"):
        merged[key] = [entry for document in documents for entry in document[key]]
    merged["current-context"] = current or merged["contexts"][0]["name"]
    write_private(path, yaml.safe_dump(merged, sort_keys=False))
    return path


def start(folder: ClusterFolder) -> subprocess.Popen[bytes] | None:
    """Start a prepared cluster in the background; None if it runs already. Its output goes to its log."""
    if folder.pid() is not None:
        return None
    command = [sys.executable, "-m", "isthmus.lab.serve", str(folder.root), folder.name]
    descriptor = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True, cwd="/"
        )
    finally:
        os.close(descriptor)


def wait_ready(folder: ClusterFolder, process: subprocess.Popen[bytes] | None) -> None:
    """Wait until a cluster that was started works.

    Raises ClusterError if its process ends before, or takes longer than 30 s; the end of its log is in the message.
    """
    deadline = time.monotonic() + START_S
    while not folder.ready():
        if process is not None and process.poll() is not None:
            raise ClusterError(f"Starting cluster {folder.name!r}: its process ended. {_log_end(folder)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"Starting cluster {folder.name!r}: not ready after {START_S:g} s. {_log_end(folder)}")
        time.sleep(POLL_S)


def stop(folder: ClusterFolder) -> bool:
    """End a cluster's process, with all that it runs; False if it does not run."""
    pid = folder.pid()
    if pid is None:
        return False
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while folder.pid() == pid or _exists(pid):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)  # the warden then ends what it runs
        time.sleep(POLL_S)
    return True


def log_lines(folder: ClusterFolder, *, tail: int | None, follow: bool) -> Iterator[str]:
    """The lines of a cluster's log, or its last ``tail`` ones; with ``follow`` those to come, until the cluster stops.

    Raises ClusterError if there is no log: the cluster was never started in the background.
    """
    try:
        file = folder.log.open(errors="replace")
    except FileNotFoundError:
        raise ClusterError(f"Reading the log of {folder.name!r}: it was never started in the background") from None
    with file:
        yield from (line.rstrip("\n") for line in (file if tail is None else deque(file, maxlen=tail)))
        while follow:
            running = folder.pid() is not None  # looked at first: what it said last is read after it has ended
            yield from (line.rstrip("\n") for line in file)
            if not running:
                return
            time.sleep(FOLLOW_S)


def _exists(pid: int) -> bool:
    """Whether a process is there; one that has ended and waits for its parent's attention is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _log_end(folder: ClusterFolder) -> str:
    lines = folder.log.read_text(errors="replace").splitlines() if folder.log.exists() else []
    end = "\n  ".join(lines[-LOG_TAIL_LINES:])
    return f"The end of {folder.log}:\n  {end}"
