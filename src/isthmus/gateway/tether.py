"""Run as a script: become a program that the kernel kills when the process that started us ends, however it ends.

``python -I -S tether.py <parent's pid> <program> [<argument>...]``. A program of its own, because what runs between
fork and exec in a process with threads must not be Python. Imports the standard library only. Source: prctl(2).
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, argv: list[str]) -> None:
    """Tie this process to ``parent`` and execute ``argv``; ends the process if the parent is gone already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot tie {argv[0]} to process {parent}: {os.strerror(number)}")
    # The parent may have ended before the kernel knew that we want to be told.
    if os.getppid() != parent:
        sys.exit(f"cannot start {argv[0]}: process {parent}, which asked for it, has ended")
    # Each connection of a proxy is a file or two; the limit that is set for shells is too low.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.execv(argv[0], argv)  # noqa: S606  (the agent gives the whole path and each argument)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
