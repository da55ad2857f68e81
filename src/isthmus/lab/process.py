"""What the processes of a lab have in common: their event loop, their limits, their signals, their log."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Coroutine

import structlog
import uvloop

from isthmus.collector import collect_rarely
from isthmus.groups import leaves
from isthmus.lab.errors import ClusterError


def run_process(
    work: Coroutine[None, None, None], *, what: str, expected: tuple[type[Exception], ...] = (OSError, ClusterError)
) -> None:
    """Run ``work`` to its end in this process.

    Raises ClusterError for what is ``expected``, with ``what`` before it.
    """
    collect_rarely()
    _allow_open_files()
    os.umask(0o077)  # what a lab stores is its user's alone
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except* expected as group:
        reasons = "; ".join(sorted({str(error) for error in leaves(group)}))
        raise ClusterError(f"{what}: {reasons}") from group


def stop_at_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _allow_open_files() -> None:
    """As many connections as the machine allows: each watch is one, and a shell's own limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def configure_log() -> None:
    """One line an entry, with its time, to standard output."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(),
    )
    logging.basicConfig(level=logging.WARNING, format="level=%(levelname)s logger=%(name)s event=%(message)r")
