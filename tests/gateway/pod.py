"""A gateway pod for tests: the real command, with a real Envoy, beside a pilot's certificate and discovery services."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from tests.ca.serving import PILOT, RED, Mesh

from isthmus.ca import server_credentials
from isthmus.envoy import message, tls
from isthmus.identity import SpiffeId
from isthmus.xds import DeltaService, Rejection, Resource, ResourceTable

ISTHMUS = Path(sys.executable).parent / "isthmus"
NAME = "egress-green-mesh"
CLIENT = SpiffeId.service_account(RED, namespace="bookinfo", account="client")
PORT = 18080
DEADLINE_S = 20


@dataclass
class Pilot:
    """Certificate service and ADS of one mesh, on one address."""

    mesh: Mesh
    address: str
    table: ResourceTable = field(default_factory=ResourceTable)
    seen: list[tuple[tuple[str, ...], Mapping[str, str]]] = field(default_factory=list)
    ca_port: int = 0
    xds_port: int = 0

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        self.seen.append((tuple(identities), metadata))
        return NAME, self.table

    def connected(self, client: str) -> None: ...

    def disconnected(self, client: str, stream: Hashable) -> None: ...

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None: ...

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        raise AssertionError(rejection)

    @contextlib.asynccontextmanager
    async def serve_certificates(self) -> AsyncIterator[None]:
        async with self.mesh.serve(self.address, self.ca_port) as self.ca_port:
            yield

    @contextlib.asynccontextmanager
    async def serve_discovery(self, identity: SpiffeId = PILOT) -> AsyncIterator[None]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([DeltaService(self, order=message.ORDER).handlers()])
        credentials = server_credentials(
            lambda: self.mesh.svid(identity), client_roots=lambda: self.mesh.authority.root_cert_pem
        )
        self.xds_port = server.add_secure_port(f"{self.address}:{self.xds_port}", credentials)
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Pilot"]:
        async with self.serve_certificates(), self.serve_discovery():
            yield self


def hello(address: str) -> Resource:
    """A listener that answers every client of the mesh over mutual TLS, and asks the pilot for nothing."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    manager = http_connection_manager_pb2.HttpConnectionManager(
        stat_prefix="hello",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": message.packed(router_pb2.Router())}],
    )
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": message.packed(manager)}
    listener = listener_pb2.Listener(
        name="hello",
        address=message.socket_address(address, PORT),
        filter_chains=[{"filters": [http], "transport_socket": tls.downstream(tls.from_own_mesh([CLIENT]))}],
    )
    return Resource.of(listener.name, message.serialised(listener))


@dataclass
class Pod:
    """One ``isthmus gateway`` with its files and its output."""

    pilot: Pilot
    address: str
    folder: Path
    process: asyncio.subprocess.Process

    def output(self) -> list[dict[str, Any]]:
        """What it wrote, line by line; a line that is not JSON is an event of its own."""
        lines = (self.folder / "output").read_text().splitlines()
        return [json.loads(line) if line.startswith("{") else {"event": line} for line in lines]

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.output() if line.get("event") == event]

    async def wait_event(self, event: str, *, times: int = 1) -> dict[str, Any]:
        """Wait until it has been written so often, and give the last."""
        await until(lambda: len(self.events(event)) >= times, lambda: (event, self.output()))
        return self.events(event)[times - 1]

    def envoy_pid(self) -> int:
        """The process id of the Envoy started last."""
        pid: int = self.events("envoy started")[-1]["pid"]
        return pid

    async def readiness(self) -> tuple[int, str]:
        """What the probe is told; (0, …) if nobody listens."""
        return await get(self.address, 15021, "/healthz/ready")

    async def wait_ready(self) -> None:
        """Wait until the probe says yes."""
        async with asyncio.timeout(DEADLINE_S):
            while (answer := await self.readiness())[0] != 200:
                assert self.process.returncode is None, (answer, self.output())
                await asyncio.sleep(0.02)

    def client_context(self) -> ssl.SSLContext:
        """TLS of a client of the same mesh, which looks at the root only."""
        svid = self.pilot.mesh.svid(CLIENT)
        certificate = self.folder / "client.pem"
        certificate.write_bytes(svid.key_pem + svid.chain_pem)
        context = ssl.create_default_context(cadata=self.pilot.mesh.authority.root_cert_pem.decode())
        context.check_hostname = False
        context.load_cert_chain(certificate)
        return context

    async def connect(self) -> "Connection":
        """A connection to the listener of ``hello``."""
        reader, writer = await asyncio.open_connection(self.address, PORT, ssl=self.client_context())
        return Connection(reader, writer)


@dataclass
class Connection:
    """One HTTP/1.1 connection over mutual TLS, kept alive."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def certificate(self) -> bytes:
        """The server's certificate, as DER."""
        tls_object: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        certificate = tls_object.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate

    async def request(self) -> tuple[str, str]:
        """One request on this connection: the status line and the body."""
        self.writer.write(b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n")
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.splitlines() if line.lower().startswith("content-length: "))
        return head.splitlines()[0], (await self.reader.readexactly(int(length.partition(": ")[2]))).decode()

    async def close(self) -> None:
        """Close it."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def until(condition: Any, state: Any) -> None:
    """Poll ``condition`` until it holds; the failure shows ``state``."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(state()) from None


async def get(address: str, port: int, path: str) -> tuple[int, str]:
    """One GET in plain text; (0, reason) if nobody listens."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        return 0, str(error)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2].strip()


def alive(pid: int) -> bool:
    """Whether there is such a process that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary directory whose name leaves room for the names of Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="ist", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def running_pod(
    control_plane: Pilot, address: str, directory: Path | None = None, /, **options: str
) -> AsyncIterator[Pod]:
    """Start the command; at the end it is killed if it still runs, and its Envoy with it."""
    with short_folder() if directory is None else contextlib.nullcontext(directory) as folder:
        mesh = control_plane.mesh
        (folder / "root-cert.pem").write_bytes(mesh.authority.root_cert_pem)
        (folder / "token").write_text(mesh.tokens.token("red-mesh-system", f"{NAME}-service-account"))
        given = {
            "name": NAME,
            "role": "egress",
            "mesh": "red-mesh",
            "namespace": "red-mesh-system",
            "trust-domain": "red-mesh.local",
            "pilot": control_plane.address,
            "pod-name": f"{NAME}-0",
            "pod-ip": address,
            "token-path": str(folder / "token"),
            "root-path": str(folder / "root-cert.pem"),
            "ca-port": str(control_plane.ca_port),
            "xds-port": str(control_plane.xds_port),
            "concurrency": "1",
            "drain-time": "2",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(ISTHMUS),
                "gateway",
                *arguments,
                stdout=output,
                stderr=output,
                env={**os.environ, "TMPDIR": str(folder)},
            )
        try:
            yield Pod(control_plane, address, folder, process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
