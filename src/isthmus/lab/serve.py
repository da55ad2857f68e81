"""The process of one cluster, from inside: ``python -m isthmus.lab.serve ROOT NAME``, or in the foreground."""

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvloop
import yaml

from isthmus.collector import collect_rarely
from isthmus.lab.apiserver import Started
from isthmus.lab.apiserver.errors import DatabaseUnusableError, SecretUnusableError
from isthmus.lab.cluster import LabCluster
from isthmus.lab.clusters import ClusterError, ClusterFolder, write_private

log = structlog.get_logger()


def serve(folder: ClusterFolder, *, apps_domain: str | None) -> None:
    """Run a cluster in this process until SIGTERM or SIGINT.

    Raises ClusterError if it runs already, its addresses are taken, or what it keeps is damaged.
    """
    collect_rarely()
    _allow_open_files()
    os.umask(0o077)  # what a cluster stores is its user's alone
    plan = folder.prepare(apps_domain=apps_domain)
    hold = folder.hold()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(folder, LabCluster(folder, plan)))
    except* (OSError, DatabaseUnusableError, SecretUnusableError) as group:
        reasons = "; ".join(sorted({str(error) for error in _leaves(group)}))
        raise ClusterError(f"Running cluster {folder.name!r} on {plan.address}: {reasons}") from group
    finally:
        os.close(hold)


def _allow_open_files() -> None:
    """As many connections as the machine allows: each watch is one, and a shell's own limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, out of the groups that task groups have put them in."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _serve(folder: ClusterFolder, cluster: LabCluster) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        started: asyncio.Future[Started] = loop.create_future()
        group.create_task(cluster.run(started, stop=stop), name=f"cluster {folder.name}")
        write_kubeconfig(folder, await started)
        folder.mark_ready()
        log.info("cluster is ready", cluster=folder.name)


def write_kubeconfig(folder: ClusterFolder, api: Started) -> None:
    """The administrator's kubeconfig (0600): one context, named after the cluster."""
    document = yaml.safe_load(api.kubeconfig().to_yaml())
    user = f"{folder.name}-admin"
    document["users"][0]["name"] = document["contexts"][0]["context"]["user"] = user
    write_private(folder.kubeconfig, yaml.safe_dump(document, sort_keys=False))


def configure_log() -> None:
    """One line an entry, with its time, to standard output: the log file of a cluster."""
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


def main(root: str, name: str) -> None:
    """The background process of one cluster."""
    configure_log()
    try:
        serve(ClusterFolder(Path(root), name), apps_domain=None)
    except ClusterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
