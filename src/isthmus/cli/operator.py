"""``isthmus operator``: the process that turns ServiceMeshControlPlanes into meshes."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.options import LogLevel

EPILOG = epilog(
    {0: "stopped by a signal", 1: "no usable configuration, or a port is taken, or another replica leads now"},
    "isthmus operator",
    "isthmus operator --kubeconfig ~/.kube/config --address 127.0.0.1",
)


def operator(
    image: Annotated[
        str, typer.Option(envvar="ISTHMUS_IMAGE", help="Container image that the processes of meshes run from.")
    ] = "isthmus",
    identity: Annotated[
        str, typer.Option(envvar="POD_NAME", help="Name of this replica, for the lease; by default host and process.")
    ] = "",
    address: Annotated[
        str, typer.Option(envvar="POD_IP", help="Address on which readiness is answered.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port on which readiness is answered.", min=0, max=65535)] = 8080,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubernetes configuration; by default that of $KUBECONFIG or of the pod.")
    ] = None,
    log_level: LogLevel = "info",
) -> None:
    """Turn every ServiceMeshControlPlane of the cluster into the objects of its mesh, until stopped."""
    import uvloop
    from lightkube.core.exceptions import ConfigError

    from isthmus.cli.failing import failing
    from isthmus.cli.stopping import until_stopped
    from isthmus.kube import LeaseLost
    from isthmus.logs import configure
    from isthmus.operator.process import Settings, run

    configure(log_level)
    settings = Settings(
        image=image,
        identity=identity or f"{socket.gethostname()}-{os.getpid()}",
        address=address,
        port=port,
        kubeconfig=kubeconfig,
    )
    with failing("operator", of=(ConfigError, LeaseLost, OSError)):
        uvloop.run(until_stopped(run(settings)))
