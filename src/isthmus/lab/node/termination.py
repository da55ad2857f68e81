"""What a container says of its own end (core/v1 Container ``terminationMessagePath``; "Determine the Reason for Pod
Failure"): a file that it may write, and else, if it wishes so, the end of its log.
"""

import os
import shutil
import stat
from pathlib import Path

from lightkube.models.core_v1 import Container

from isthmus.lab.node.log_files import LogReader, RunFiles, place_of_last
from isthmus.lab.node.log_lines import Shown

DEFAULT_PATH = "/dev/termination-log"
MESSAGE_BYTES = 4096
LOG_BYTES, LOG_LINES = 2048, 80


def prepare(file: Path) -> None:
    """An empty file for a new run, whatever the last one has left there."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)


def message(container: Container, file: Path, log: RunFiles, *, failed: bool) -> str | None:
    """What the container has said, None if nothing."""
    said = _written(file)
    if not said and failed and container.terminationMessagePolicy == "FallbackToLogsOnError":
        said = _logged(log)
    return said.decode(errors="replace") or None


def _written(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # the container may have made anything of it
        return b""
    try:
        return os.read(descriptor, MESSAGE_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _logged(log: RunFiles) -> bytes:
    try:
        reader = LogReader(log, place_of_last(log, LOG_LINES))
    except FileNotFoundError:
        return b""
    shown, said = Shown(), b""
    try:
        while data := reader.read():
            said = (said + shown.of(data))[-LOG_BYTES:]
    finally:
        reader.close()
    return said
