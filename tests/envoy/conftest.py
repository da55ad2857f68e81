"""Real Envoys on loopback addresses, fed by the real xDS service over Unix sockets."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from isthmus.envoy import message, tls
from isthmus.envoy.failure_log import CONTROL_PLANE_CLUSTER
from isthmus.gateway import statistics
from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain, X509Svid
from isthmus.reports import GatewayReport, ReportService
from isthmus.xds import AGGREGATED, SECRETS, DeltaService, Rejection, Resource, ResourceTable

ENVOY = Path(sys.executable).parent / "envoy"


@dataclass(frozen=True)
class Mesh:
    """A mesh as far as certificates go."""

    domain: TrustDomain
    authority: Authority

    @classmethod
    def named(cls, name: str) -> "Mesh":
        domain = TrustDomain(f"{name}.local")
        return cls(domain, Authority.self_signed(domain, now=datetime.now(UTC)))

    @property
    def bundle(self) -> TrustBundle:
        return TrustBundle.of(self.domain, self.authority.roots)

    def account(self, name: str) -> SpiffeId:
        namespace = self.domain.name.removesuffix(".local") + "-system"
        return SpiffeId.service_account(self.domain, namespace=namespace, account=name)

    def svid(self, identity: SpiffeId) -> X509Svid:
        return self.authority.issue_svid(identity, lifetime=timedelta(hours=1), now=datetime.now(UTC))


@dataclass
class Proxy:
    """One Envoy: what it is told (``table``), what it refused, what it says."""

    table: ResourceTable
    secrets: ResourceTable
    folder: Path
    rejections: list[Rejection] = field(default_factory=list)
    reports: list[GatewayReport] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        return "envoy", self.table

    def connected(self, client: str) -> None: ...

    def disconnected(self, client: str, stream: Hashable) -> None: ...

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None: ...

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def name_of(self, identities: Sequence[str]) -> str:
        return "envoy"

    async def wait_report(self, log: str, *, status: int | None = None) -> GatewayReport:
        """The first report of that log, and of that status if one is given."""
        async with asyncio.timeout(10):
            while not (found := [each for each in self.reports if each.log == log and status in {None, each.status}]):
                await asyncio.sleep(0.02)
        return found[0]

    def log(self) -> str:
        return (self.folder / "out.log").read_text()

    def access_log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    async def wait_for(self, text: str, *, times: int = 1, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while self.log().count(text) < times:
                await asyncio.sleep(0.02)

    def set_identity(self, svid: X509Svid, root: TrustBundle) -> None:
        from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

        certificate = {
            "certificate_chain": {"inline_bytes": svid.chain_pem},
            "private_key": {"inline_bytes": svid.key_pem},
        }
        own = secret_pb2.Secret(name=tls.OWN_CERTIFICATE, tls_certificate=certificate)
        trusted = secret_pb2.Secret(name=tls.OWN_ROOT, validation_context={"trusted_ca": {"inline_bytes": root.pem()}})
        for secret in (own, trusted):
            self.secrets.put(message.SECRET, Resource.of(secret.name, message.serialised(secret)))


@dataclass
class _Local:
    table: ResourceTable

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        return "sds", self.table

    def connected(self, client: str) -> None: ...

    def disconnected(self, client: str, stream: Hashable) -> None: ...

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None: ...

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        raise AssertionError(rejection)


def bootstrap(folder: Path) -> dict[str, object]:
    """Just enough for an Envoy to be told the rest."""

    def pipe(name: str) -> dict[str, object]:
        http2: dict[str, object] = {"explicit_http_config": {"http2_protocol_options": {}}}
        options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", **http2}
        endpoint = {"endpoint": {"address": {"pipe": {"path": str(folder / "xds.sock")}}}}
        return {
            "name": name,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        }

    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }
    return {
        "node": {"id": "test", "cluster": "test", "metadata": {"POD_IP": "127.0.0.1"}},
        "admin": {"address": {"pipe": {"path": str(folder / "admin.sock")}}},
        "dynamic_resources": {"ads_config": ads, "cds_config": message.ADS, "lds_config": message.ADS},
        "stats_config": statistics.KEPT,
        "static_resources": {"clusters": [pipe("xds"), pipe(CONTROL_PLANE_CLUSTER), pipe(tls.AGENT_CLUSTER)]},
    }


@contextlib.asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    server = grpc.aio.server()
    services = [
        DeltaService(proxy, methods=[AGGREGATED], order=message.ORDER),
        DeltaService(_Local(proxy.secrets), methods=[SECRETS]),
    ]
    reports = ReportService(proxy, lambda _, report: proxy.reports.append(report), pause_s=0)
    server.add_generic_rpc_handlers([*(service.handlers() for service in services), reports.handlers()])
    server.add_insecure_port(f"unix:{proxy.folder / 'xds.sock'}")
    await server.start()
    config = proxy.folder / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(proxy.folder)))
    options = [
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--file-flush-interval-msec",
        "50",
        "-l",
        "warning",
        "--drain-time-s",
        "1",
    ]
    with (proxy.folder / "out.log").open("wb") as out:
        proxy.process = await asyncio.create_subprocess_exec(
            ENVOY, "-c", str(config), *options, stdout=out, stderr=asyncio.subprocess.STDOUT, env=dict(os.environ)
        )
    try:
        yield proxy
    finally:
        with contextlib.suppress(ProcessLookupError):
            proxy.process.kill()
        await proxy.process.wait()
        await server.stop(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the names of Unix sockets are limited to 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="ist"))
    yield path
    shutil.rmtree(path)
