"""How the parts of a lab reach an API server: clients made of a kubeconfig's context, and what pods are told of it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from isthmus.aiohttp_transport import AiohttpTransport, session
from isthmus.lab.client.discovery import http_client
from isthmus.lab.errors import ClusterError
from isthmus.lab.node import Cluster

HTTPS = 443


@dataclass(frozen=True, slots=True)
class Access:
    """Clients of an API server."""

    client: AsyncClient
    http: httpx2.AsyncClient


@asynccontextmanager
async def access(config: SingleConfig) -> AsyncIterator[Access]:
    """Clients with the credentials of a context, closed at the end."""
    verify = await asyncio.to_thread(verify_cluster, config.cluster, config.user or User(), config.abs_file)
    transport = AiohttpTransport(session(verify, auto_decompress=False))
    client = AsyncClient(config, field_manager="isthmus-lab", trust_env=False, transport=transport)
    http = http_client(config, transport)
    try:
        yield Access(client=client, http=http)
    finally:
        await http.aclose()
        await client.close()


def read_config(file: Path, context: str | None) -> SingleConfig:
    """A context of a kubeconfig, the current one if none is named. Raises ClusterError if it can't be used."""
    try:
        config = KubeConfig.from_file(file).get(context_name=context)
    except (ConfigError, OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"Reading {file}: {error}; expected a kubeconfig with that context") from error
    if config is None:
        raise ClusterError(f"Reading {file}: it has no current context; choose one with --context")
    return config


def cluster_of(config: SingleConfig, *, dns: str) -> Cluster:
    """What pods are told of the cluster of a context. Raises ClusterError if they could not verify its server."""
    url = urlsplit(config.cluster.server)
    if config.cluster.certificate_auth_data:
        ca = base64.b64decode(config.cluster.certificate_auth_data).decode()
    elif config.cluster.certificate_auth:
        ca = Path(config.abs_file(config.cluster.certificate_auth)).read_text()
    else:
        ca = ""
    if url.scheme != "https" or not url.hostname or not ca:
        raise ClusterError(
            f"Running pods for {config.cluster.server}: expected an https server with its certificate authority in the "
            "kubeconfig, for pods must be able to verify it"
        )
    return Cluster(server_host=url.hostname, server_port=url.port or HTTPS, ca=ca, dns=dns)
