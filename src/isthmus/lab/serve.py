"""The process of one cluster, from inside: ``python -m isthmus.lab.serve ROOT NAME``, or in the foreground."""

import asyncio
import os
import sys
from pathlib import Path

import structlog
import yaml

from isthmus.lab.apiserver import Started
from isthmus.lab.apiserver.errors import DatabaseUnusableError, SecretUnusableError
from isthmus.lab.cluster import LabCluster
from isthmus.lab.clusters import ClusterFolder, write_private
from isthmus.lab.errors import ClusterError
from isthmus.lab.plan import Wishes
from isthmus.lab.process import configure_log, run_process, stop_at_signals

log = structlog.get_logger()


def serve(folder: ClusterFolder, wishes: Wishes) -> None:
    """Run a cluster in this process until SIGTERM or SIGINT.

    Raises ClusterError if it runs already, its addresses are taken or not this machine's, or what it keeps is damaged.
    """
    plan = folder.prepare(wishes)
    hold = folder.hold()
    try:
        run_process(
            _serve(folder, LabCluster(folder, plan)),
            what=f"Running cluster {folder.name!r} on {plan.address}",
            expected=(OSError, DatabaseUnusableError, SecretUnusableError),
        )
    finally:
        os.close(hold)


async def _serve(folder: ClusterFolder, cluster: LabCluster) -> None:
    stop = stop_at_signals()
    async with asyncio.TaskGroup() as group:
        started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
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


def main(root: str, name: str) -> None:
    """The background process of one cluster."""
    configure_log()
    try:
        serve(ClusterFolder(Path(root), name), Wishes())
    except ClusterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
