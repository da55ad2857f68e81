"""The agent of one gateway pod: wires certificate, roots, secrets and Envoy together.

Order of start: probe and secret service, roots and certificate, Envoy. Stop is the reverse: the probe says no, Envoy
drains and ends, the rest goes. Whatever ends the agent, Envoy ends with it.
"""

import asyncio
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path

from isthmus.ca import CertificateClient, channel_target
from isthmus.clock import CLOCK
from isthmus.gateway.admin import Admin, AdminError
from isthmus.gateway.agent_server import AgentServer
from isthmus.gateway.bootstrap import Sockets, bootstrap, bootstrap_json
from isthmus.gateway.envoy_process import ENVOY_LOG_LEVELS, EnvoyProcess, envoy_command
from isthmus.gateway.log_levels import LogLevels
from isthmus.gateway.renewal import Renewal
from isthmus.gateway.root_file import RootFile
from isthmus.gateway.sds import LocalSecrets
from isthmus.gateway.settings import GatewaySettings
from isthmus.identity import TrustBundle, X509Svid
from isthmus.logs import Levels
from isthmus.readiness import serve_readiness

READY_PATH = "/healthz/ready"
"""Where Istio's gateways answer their readiness probe."""


class Agent:
    """One gateway; ``run`` does everything."""

    def __init__(
        self, settings: GatewaySettings, *, envoy: Path, json_log: bool = True, levels: Levels | None = None
    ) -> None:
        """``levels`` are those of this process's log, which the mesh may set."""
        self._settings = settings
        self._levels = levels or Levels()
        self._envoy_path = envoy
        self._json_log = json_log
        self._secrets = LocalSecrets()
        self._roots: TrustBundle | None = None
        self._client = certificate_client(settings)
        self._server = AgentServer(settings)
        self._renewal = Renewal(self._request, self._certificate_changed)

    async def run(self) -> None:
        """Run the gateway until cancelled; Envoy has drained and ended when this returns.

        Raises OSError: the pod's address or one of its ports cannot be used.
        """
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-"))
            sockets = Sockets(stack.enter_context(_short_name(directory)))
            admin = Admin(sockets.admin)
            envoy = self._envoy(Path(directory), admin)
            await stack.enter_async_context(self._probe(envoy, admin))
            await stack.enter_async_context(self._secrets.serve(sockets.sds))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            root_file = RootFile(self._settings.root_path, self._settings.trust_domain, self._root_changed)
            tasks.create_task(root_file.run(), name="follow the roots")
            tasks.create_task(self._renewal.run(), name="renew the certificate")
            tasks.create_task(self._server.run(), name="take orders")
            tasks.create_task(self._run_envoy(envoy), name="run envoy")
            tasks.create_task(self._log_levels(envoy, admin).run(), name="follow the log levels")

    def _envoy(self, directory: Path, admin: Admin) -> EnvoyProcess:
        """Envoy runs in ``directory`` and names the sockets relative to it."""
        settings = self._settings
        config = directory / "bootstrap.json"
        config.write_text(bootstrap_json(bootstrap(settings, Sockets(Path()), json_log=self._json_log)))
        # The limit that Envoy is started with (``tether``).
        _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        command = envoy_command(self._envoy_path.absolute(), config, settings, open_files=open_files)
        return EnvoyProcess(command, admin, directory=directory, drain_time_s=settings.drain_time_s)

    def _log_levels(self, envoy: EnvoyProcess, admin: Admin) -> LogLevels:
        level = ENVOY_LOG_LEVELS[self._settings.log_level]
        return LogLevels(self._settings.settings_path, self._levels, envoy=envoy, admin=admin, level=level)

    def _probe(self, envoy: EnvoyProcess, admin: Admin) -> AbstractAsyncContextManager[int]:
        async def problem() -> str | None:
            return self._renewal.problem() or await _envoy_problem(envoy, admin)

        return serve_readiness(self._settings.pod_ip, self._settings.ready_port, problem, path=READY_PATH)

    async def _request(self) -> X509Svid:
        return await self._client.request_svid(self._settings.identity, now=CLOCK.now())

    def _certificate_changed(self, svid: X509Svid) -> None:
        self._secrets.set_certificate(svid)
        self._server.set_certificate(svid)

    def _root_changed(self, bundle: TrustBundle) -> None:
        self._secrets.set_root(bundle)
        self._server.set_roots(bundle)
        if self._roots is not None:
            # Other roots mean another issuer, most likely: a certificate of the old one may soon not be accepted.
            self._renewal.renew_now()
        self._roots = bundle

    async def _run_envoy(self, envoy: EnvoyProcess) -> None:
        await self._renewal.wait_first()
        await envoy.run()


async def _envoy_problem(envoy: EnvoyProcess, admin: Admin) -> str | None:
    if not envoy.running:
        return "Envoy is not running, or draining"
    try:
        state = await admin.state()
    except AdminError as error:
        return str(error)
    return None if state == "LIVE" else f"Envoy is {state}: it waits for its configuration from the pilot"


@contextmanager
def _short_name(directory: str) -> Iterator[Path]:
    """A name of ``directory`` for this process that leaves room for sockets in it, however long its own name is.

    The address of a Unix socket has 108 bytes at most (unix(7)); a temporary directory below a home is longer.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def certificate_client(settings: GatewaySettings) -> CertificateClient:
    """The client of this mesh's certificate service."""
    dns_server = None if settings.dns_server is None else str(settings.dns_server)
    return CertificateClient(
        target=channel_target(settings.pilot, settings.ca_port, dns_server=dns_server),
        server_name=settings.pilot_server_name,
        root_path=settings.root_path,
        token_path=settings.token_path,
    )
