"""``isthmus pilot``: the control plane of one mesh."""

import os
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.options import LogLevel

EPILOG = epilog(
    {0: "stopped by a signal", 1: "no usable configuration or CA, or a port is taken"},
    "isthmus pilot --mesh red-mesh --namespace red-mesh-system --trust-domain red-mesh.local"
    " --pod-name istiod-red-mesh-0 --pod-ip 10.0.0.5",
)


def pilot(
    mesh: Annotated[str, typer.Option(help="Name of the mesh.")],
    namespace: Annotated[str, typer.Option(help="Namespace of the control plane.")],
    trust_domain: Annotated[str, typer.Option(help="Trust domain of the mesh, unique among its peers.")],
    pod_name: Annotated[str, typer.Option(envvar="POD_NAME", help="Name of this pod, as the status shows it.")],
    pod_ip: Annotated[str, typer.Option(envvar="POD_IP", help="Address of this pod: the only one listened on.")],
    trust_domain_alias: Annotated[list[str] | None, typer.Option(help="Another name of the trust domain.")] = None,
    cluster_domain: Annotated[str, typer.Option(help="DNS domain of the cluster.")] = "cluster.local",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubernetes configuration; by default that of $KUBECONFIG or of the pod.")
    ] = None,
    log_level: LogLevel = "info",
) -> None:
    """Run the control plane of one mesh, until stopped."""
    # Its lines about ports and connections come again as exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import uvloop
    from lightkube.core.exceptions import ConfigError

    from isthmus.cli.failing import failing
    from isthmus.cli.stopping import until_stopped
    from isthmus.collector import collect_rarely
    from isthmus.identity import IdentityError, TrustDomain
    from isthmus.kube.errors import KubeError
    from isthmus.logs import configure
    from isthmus.pilot.app import run
    from isthmus.pilot.settings import Settings

    collect_rarely()
    levels = configure(log_level)
    with failing("pilot", of=(ConfigError, IdentityError, KubeError, OSError)):
        settings = Settings(
            mesh=mesh,
            namespace=namespace,
            trust_domain=TrustDomain(trust_domain),
            trust_domain_aliases=tuple(TrustDomain(alias) for alias in trust_domain_alias or ()),
            pod_name=pod_name,
            pod_ip=pod_ip,
            cluster_domain=cluster_domain,
        )
        uvloop.run(until_stopped(run(settings, kubeconfig=kubeconfig, levels=levels)))
