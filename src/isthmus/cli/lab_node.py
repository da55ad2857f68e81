"""``isthmus lab node``: a node by itself, for any API server."""

import socket
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.lab import DataDir, failure, root_of

LAB_NODE_EPILOG = epilog(
    {0: "it was asked to end", 1: "it can't run, or lost what it needs", 2: "an option is wrong"},
    "isthmus lab node --kubeconfig admin.conf --pod-cidr 10.88.0.0/16",
    "isthmus lab node --kubeconfig admin.conf --pod-cidr 10.88.0.0/16 --service-cidr 10.96.0.0/16",
)


def lab_node(
    *,
    kubeconfig: Annotated[Path, typer.Option(help="How the API server is reached.")],
    pod_cidr: Annotated[
        str, typer.Option(help="Range of pods' addresses, which the machine has; the first one is the node's.")
    ],
    name: Annotated[
        str | None, typer.Option(help="The node's name [default: the machine's]", show_default=False)
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig [default: the current one]")] = None,
    service_cidr: Annotated[
        str | None,
        typer.Option(help="Range of Services' addresses: answer there, and for names [default: leave it to others]"),
    ] = None,
    dns: Annotated[str, typer.Option(help="Name server that pods are told of, without --service-cidr: IP:PORT")] = "",
    apps_domain: Annotated[str, typer.Option(help="Domain of load balancers' names")] = "apps.test",
    data_dir: DataDir = None,
) -> None:
    """Run pods, as processes of this machine, for any API server; ends with Ctrl-C, and its pods with it."""
    from isthmus.lab.apart import ApartSettings, run_apart
    from isthmus.lab.errors import ClusterError
    from isthmus.lab.process import configure_log
    from isthmus.lab.ranges import parse_range

    chosen = name or socket.gethostname().lower().partition(".")[0]
    try:
        settings = ApartSettings(
            name=chosen,
            folder=root_of(data_dir) / ".nodes" / chosen.replace("/", "_"),
            kubeconfig=kubeconfig,
            context=context,
            pods=parse_range(pod_cidr, option="--pod-cidr"),
            services=parse_range(service_cidr, option="--service-cidr") if service_cidr else None,
            dns=dns,
            apps_domain=apps_domain,
        )
        configure_log()
        run_apart(settings)
    except ClusterError as error:
        raise failure(error) from None
