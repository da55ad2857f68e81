"""The API server as one running thing: its settings, its start, its stop."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from isthmus.lab.apiserver.admission import Admission
from isthmus.lab.apiserver.bootstrap import Address, bootstrap
from isthmus.lab.apiserver.changes import Changes
from isthmus.lab.apiserver.cleanup import clean_definitions
from isthmus.lab.apiserver.connection import HttpProtocol
from isthmus.lab.apiserver.errors import SecretUnusableError
from isthmus.lab.apiserver.identity.authenticate import Authenticator
from isthmus.lab.apiserver.identity.authority import Authority, Credential, load_authority, write_private
from isthmus.lab.apiserver.identity.authorize import Authorizer
from isthmus.lab.apiserver.identity.login import Logins
from isthmus.lab.apiserver.identity.tokens import TokenKey, load_token_key
from isthmus.lab.apiserver.identity.user import ADMIN, MASTERS
from isthmus.lab.apiserver.kinds import Registry
from isthmus.lab.apiserver.kinds.builtin import RESOURCES
from isthmus.lab.apiserver.kinds.custom import RESOURCE as DEFINITIONS
from isthmus.lab.apiserver.kubeconfig import Kubeconfig
from isthmus.lab.apiserver.rest.app import App
from isthmus.lab.apiserver.rest.services import Services
from isthmus.lab.apiserver.schema import builtin_schema
from isthmus.lab.apiserver.storage import Event, Store, Window
from isthmus.lab.apiserver.storage.store import open_store
from isthmus.lab.http_server import HttpServer
from isthmus.lab.pod_logs import PodLogs

STOP_WITHIN_S = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run a server.

    ``data_dir`` holds everything that must survive a restart. ``port`` 0 takes any free one. ``names`` are further DNS
    names and addresses for the server's certificate. ``service_cidr`` is where Services get their addresses from.
    ``window`` is how far back watches can resume. ``request_within_s`` bounds how long a client may take to send the
    head of a request, and again its body.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    service_cidr: str = "127.96.0.0/16"
    names: tuple[str, ...] = ()
    cluster_name: str = "lab"
    window: Window = field(default_factory=Window)
    request_within_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Started:
    """What a running server tells whoever started it."""

    url: str
    host: str
    port: int
    ca: bytes
    admin_token: str
    admin_certificate: Credential
    cluster_name: str

    def kubeconfig(self, *, namespace: str = "default") -> Kubeconfig:
        """The administrator's kubeconfig."""
        return Kubeconfig(
            cluster=self.cluster_name,
            server=self.url,
            ca=self.ca,
            token=self.admin_token,
            credential=self.admin_certificate,
            namespace=namespace,
        )


@dataclass(frozen=True, slots=True)
class _Identity:
    authority: Authority
    serving: Credential
    admin: Credential
    admin_token: str
    password: str
    tokens: TokenKey
    tls: ssl.SSLContext


class ApiServer:
    """The lab's API server. ``run`` serves until it is cancelled; nothing happens before."""

    def __init__(self, settings: Settings, *, logs: PodLogs | None = None) -> None:
        self._settings = settings
        self._logs = logs

    async def run(self, started: asyncio.Future[Started]) -> None:
        """Serve. ``started`` gets its result once requests are answered.

        Raises DatabaseUnusableError when the data directory is taken or damaged, SecretUnusableError when one of its
        secrets is, OSError when the address is taken; all also reach ``started``'s waiter.
        """
        try:
            async with open_store(self._settings.data_dir, window=self._settings.window) as store:
                identity = await asyncio.to_thread(self._load_identity)
                await self._serve(store, identity, started)
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            raise

    async def _serve(self, store: Store, identity: _Identity, started: asyncio.Future[Started]) -> None:
        services = self._services(store, identity)
        with _listening(self._settings) as listener:
            host, port = listener.getsockname()[:2]
            await bootstrap(services, address=Address(host, port))
            server = _http_server(services, identity, within_s=self._settings.request_within_s)
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve(sockets=[listener]), name="serve HTTPS")
                group.create_task(clean_definitions(services), name="remove the objects of deleted definitions")
                started.set_result(self._started(host, port, identity))
                try:
                    await asyncio.shield(serving)
                finally:
                    await _stop(server, serving, services)

    def _services(self, store: Store, identity: _Identity) -> Services:
        registry = Registry()
        for stored in store.state.listed(DEFINITIONS):
            registry.define(stored.key.name, stored.object())
        authorizer = Authorizer(store.state)
        store.observe(lambda event: _define(registry, store, event))
        store.observe(authorizer.observe)
        admission = Admission(store, service_cidr=self._settings.service_cidr)
        store.observe(admission.observe)
        logins = Logins(identity.password, identity.admin_token.encode())
        return Services(
            registry=registry,
            store=store,
            changes=Changes(store, admission, authorizer, clock=utc_now),
            authenticator=Authenticator(
                state=store.state,
                tokens=identity.tokens,
                logins=logins,
                admin_token=identity.admin_token,
                clock=utc_now,
            ),
            authorizer=authorizer,
            tokens=identity.tokens,
            logins=logins,
            logs=self._logs,
            clock=utc_now,
            stopping=asyncio.Event(),
        )

    def _load_identity(self) -> _Identity:
        """Blocks on files, and on importing the models of the built-in kinds."""
        for resource in RESOURCES:
            builtin_schema(resource.group, resource.version, resource.kind)
        directory = self._settings.data_dir / "pki"
        now = utc_now()
        authority = load_authority(directory, now=now)
        names = dict.fromkeys((self._settings.host, "127.0.0.1", "localhost", *_IN_CLUSTER, *self._settings.names))
        serving = authority.serving(list(names), now=now)
        return _Identity(
            authority=authority,
            serving=serving,
            admin=authority.client(ADMIN.name, [MASTERS], now=now),
            admin_token=_load_secret(directory / "admin.token"),
            password=_load_secret(directory / "kubeadmin.password"),
            tokens=load_token_key(directory / "sa.key"),
            tls=_tls(authority, serving, directory),
        )

    def _started(self, host: str, port: int, identity: _Identity) -> Started:
        return Started(
            url=f"https://{host}:{port}",
            host=host,
            port=port,
            ca=identity.authority.pem,
            admin_token=identity.admin_token,
            admin_certificate=identity.admin,
            cluster_name=self._settings.cluster_name,
        )


_IN_CLUSTER = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


def utc_now() -> datetime:
    return datetime.now(UTC)


def _define(registry: Registry, store: Store, event: Event) -> None:
    """Serve what a definition says; with a definition that goes, the watches of its kind end."""
    if event.key.resource == DEFINITIONS:
        registry.define(event.key.name, None if event.deleted else event.stored.object())
        if event.deleted:
            store.state.close_watchers(event.key.name)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    # By its protocol asyncio knows a socket whose answers are not to wait for acknowledgements (TCP_NODELAY).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
        yield listener


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None], services: Services) -> None:
    """End what is open, then the server; not later than its deadline."""
    services.stopping.set()
    services.store.state.close_watchers()
    server.should_exit = True
    async with asyncio.timeout(2 * STOP_WITHIN_S):
        await asyncio.shield(serving)


def _load_secret(path: Path) -> str:
    """A text nobody can guess, made when it is missing. Raises SecretUnusableError: whoever gives none must not fit."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    secret = path.read_bytes().strip()
    if not secret or not secret.isascii():
        raise SecretUnusableError(path, "a line of ASCII characters")
    return secret.decode()


def _tls(authority: Authority, serving: Credential, directory: Path) -> ssl.SSLContext:
    """TLS with the server's certificate; client certificates are asked for and checked, not demanded."""
    write_private(directory / "server.crt", serving.certificate)
    write_private(directory / "server.key", serving.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.pem.decode())
    return context


def _http_server(services: Services, identity: _Identity, *, within_s: float) -> HttpServer:
    class Protocol(HttpProtocol):
        head_within_s = within_s

    config = uvicorn.Config(
        App(services, body_within_s=within_s),
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=90,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        ssl_context_factory=lambda *_: identity.tls,
    )
    return HttpServer(config)
