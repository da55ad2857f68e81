"""A mesh of OpenShift Service Mesh 2.3 to 2.5 as its peers see it: the bytes that its gateways send and take.

Written from the recorded facts (docs/protocol.md §1 to §4), on sockets and ``ssl`` alone, so that nothing of ours is on
the other end of the wire. Checksums are the exception: their vectors are tested elsewhere.
"""

import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from isthmus.federation.catalogue import Catalogue
from isthmus.federation.messages import ServiceList, ServiceMessage, ServicePort, parse_service_list
from isthmus.identity import Authority, SpiffeId, TrustDomain, X509Svid, spiffe_id_of

DOMAIN = TrustDomain("old-mesh.local")
NAMESPACE = "old-mesh-system"
ADDRESS = "127.99.7.1"
Message = dict[str, Any]


def account(name: str) -> SpiffeId:
    return SpiffeId.service_account(DOMAIN, namespace=NAMESPACE, account=f"{name}-service-account")


@dataclass(frozen=True)
class OldMesh:
    """Its certificate authority, and what it trusts of its peer."""

    authority: Authority
    peer_root: str

    @classmethod
    def trusting(cls, peer_root: str) -> "OldMesh":
        return cls(Authority.self_signed(DOMAIN, now=datetime.now(UTC)), peer_root)

    @property
    def root(self) -> str:
        return self.authority.root_cert_pem.decode()

    def client_context(self, gateway: str, *alpn: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        return self._mutual(context, gateway, alpn)

    def server_context(self, gateway: str, *alpn: str) -> ssl.SSLContext:
        return self._mutual(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), gateway, alpn)

    def _mutual(self, context: ssl.SSLContext, gateway: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.peer_root)
        context.set_alpn_protocols(list(alpn))
        with tempfile.NamedTemporaryFile() as file:
            svid = self._svid(gateway)
            Path(file.name).write_bytes(svid.key_pem + svid.chain_pem)
            context.load_cert_chain(file.name)
        return context

    def _svid(self, gateway: str) -> X509Svid:
        return self.authority.issue_svid(account(gateway), lifetime=timedelta(hours=1), now=datetime.now(UTC))


@contextmanager
def connected(context: ssl.SSLContext, address: str, port: int, server_name: str) -> Iterator[ssl.SSLSocket]:
    """A TLS connection from the old mesh's egress gateway."""
    with (
        socket.create_connection((address, port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as connection,
    ):
        yield connection


@dataclass
class OldImporter:
    """Its control plane behind its egress gateway: opens a watch, and lists again after each event."""

    context: ssl.SSLContext
    address: str
    port: int = 8188
    server_name: str = "discovery.old-mesh-system.svc.green-mesh.local"

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        with connected(self.context, self.address, self.port, self.server_name) as connection:
            connection.sendall(self._request(path, "connection: close"))
            status, headers, body = read_head(connection)
            return status, headers, read_body(connection, headers, body)

    def services(self) -> ServiceList:
        status, _, body = self.get("/v1/services/")
        assert status == 200, body
        return parse_service_list(body)

    @contextmanager
    def watch(self) -> Iterator["OldWatch"]:
        with connected(self.context, self.address, self.port, self.server_name) as connection:
            connection.sendall(self._request("/v1/watch"))
            status, headers, rest = read_head(connection)
            yield OldWatch(connection, status, headers, rest)

    def _request(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"host: {self.server_name}", "user-agent: Go-http-client/1.1", *headers]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class OldWatch:
    """A watch as a Go ``json.Decoder`` reads it: values one after another, any white space between them."""

    connection: ssl.SSLSocket
    status: int
    headers: dict[str, str]
    rest: bytes
    text: str = ""

    def next_event(self) -> Message:
        """The next value; raises EOFError: the watch has ended."""
        decoder = json.JSONDecoder()
        while True:
            self.text = self.text.lstrip(" \t\r\n")
            with suppress(json.JSONDecodeError):
                event, end = decoder.raw_decode(self.text)
                self.text = self.text[end:]
                assert isinstance(event, dict)
                return event
            self.text += self._next_chunk().decode()

    def _next_chunk(self) -> bytes:
        size, data = self._upto(b"\r\n")
        self.rest = data
        length = int(size, 16)
        while len(self.rest) < length + 2:
            self.rest += self._read()
        chunk, self.rest = self.rest[:length], self.rest[length + 2 :]
        if not length:
            raise EOFError
        return chunk

    def _upto(self, end: bytes) -> tuple[bytes, bytes]:
        while end not in self.rest:
            self.rest += self._read()
        head, _, rest = self.rest.partition(end)
        return head, rest

    def _read(self) -> bytes:
        some = self.connection.recv(65536)
        if not some:
            raise EOFError
        return some


def read_head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and what came of the body so far."""
    received = b""
    while b"\r\n\r\n" not in received:
        some = connection.recv(65536)
        assert some, received
        received += some
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, rest


def read_body(connection: socket.socket, headers: dict[str, str], body: bytes) -> bytes:
    length = int(headers["content-length"])
    while len(body) < length:
        some = connection.recv(65536)
        assert some, body
        body += some
    return body


@dataclass(frozen=True)
class Call:
    """One connection that reached the old mesh's ingress gateway, and the head of the request if it was HTTP."""

    server_name: str
    alpn: str | None
    client: str
    head: str = ""

    @property
    def path(self) -> str:
        return self.head.split(" ")[1] if self.head else ""


@dataclass
class OldExporter:
    """Its ingress gateway: discovery on one port, an echo behind the other; says byte for byte what a test sets."""

    mesh: OldMesh
    listed: bytes = b'{"checksum":3035108133973235477}'
    calls: list[Call] = field(default_factory=list)
    discovery_port: int = 0
    service_port: int = 0
    _watches: set[ssl.SSLSocket] = field(default_factory=set)
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator["OldExporter"]:
        with ExitStack() as stack:
            self.discovery_port = self._listen(stack, self._discovery, "istio", "http/1.1")
            self.service_port = self._listen(stack, self._echo, "istio-peer-exchange", "istio")
            yield self

    def export(self, *services: ServiceMessage) -> None:
        """List these services, in the words and with the checksum of 2.3 to 2.5."""
        self.listed = listed(*services)

    def tell(self, action: str, service: ServiceMessage, checksum: int) -> None:
        """An event, without saying what else there is."""
        event = {"action": action, "service": as_json(service), "checksum": checksum}
        self.say(json.dumps(event, separators=(",", ":")).encode() + b"\r\n")

    def say(self, data: bytes) -> None:
        """One chunk to whoever watches."""
        assert self._watches
        for watch in list(self._watches):
            with suppress(OSError):
                watch.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def is_watched(self) -> bool:
        return bool(self._watches)

    def lists(self) -> int:
        """How often the list was asked for."""
        return sum(call.path == "/v1/services/" for call in self.calls)

    def lists_after(self, count: int) -> bool:
        """Whether the list was asked for more often than that."""
        return self.lists() > count

    def drop(self) -> None:
        """Break all connections, as a gateway that is killed does."""
        self._watches.clear()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _listen(self, stack: ExitStack, serve: Callable[[ssl.SSLSocket, Call], None], *alpn: str) -> int:
        context = self.mesh.server_context("ingress-green-mesh", *alpn)
        names: dict[int, str] = {}
        context.sni_callback = lambda connection, name, _: names.update({id(connection): name or ""})
        server = stack.enter_context(socket.create_server((ADDRESS, 0)))
        accepting = threading.Thread(target=self._accept, args=(server, context, names, serve))
        accepting.start()
        stack.callback(self._stop, server, accepting)
        port: int = server.getsockname()[1]
        return port

    def _stop(self, server: socket.socket, accepting: threading.Thread) -> None:
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()
        self.drop()
        for thread in self._threads:
            thread.join()

    def _accept(
        self,
        server: socket.socket,
        context: ssl.SSLContext,
        names: dict[int, str],
        serve: Callable[[ssl.SSLSocket, Call], None],
    ) -> None:
        with suppress(OSError):
            while True:
                plain, _ = server.accept()
                thread = threading.Thread(target=self._serve, args=(plain, context, names, serve))
                self._threads.append(thread)
                thread.start()

    def _serve(
        self,
        plain: socket.socket,
        context: ssl.SSLContext,
        names: dict[int, str],
        serve: Callable[[ssl.SSLSocket, Call], None],
    ) -> None:
        with plain, suppress(OSError, AssertionError):
            self._open.add(plain)
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as connection:
                self._open.add(connection)
                try:
                    connection.do_handshake()
                    client = spiffe_id_of_peer(connection)
                    serve(connection, Call(names.get(id(connection), ""), connection.selected_alpn_protocol(), client))
                finally:
                    self._open -= {plain, connection}

    def _discovery(self, connection: ssl.SSLSocket, call: Call) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            some = connection.recv(65536)
            if not some:
                return
            received += some
        call = Call(call.server_name, call.alpn, call.client, received.decode())
        self.calls.append(call)
        match call.path:
            case "/v1/services/":
                connection.sendall(answer("200 OK", self.listed))
            case "/v1/watch":
                head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
                connection.sendall(head.encode())
                self._watches.add(connection)
                while connection.recv(65536):
                    pass
                self._watches.discard(connection)
            case _:
                connection.sendall(answer("404 Not Found", b""))

    def _echo(self, connection: ssl.SSLSocket, call: Call) -> None:
        self.calls.append(call)
        while some := connection.recv(65536):
            connection.sendall(some)


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


def spiffe_id_of_peer(connection: ssl.SSLSocket) -> str:
    from cryptography import x509

    der = connection.getpeercert(binary_form=True)
    assert der
    return str(spiffe_id_of(x509.load_der_x509_certificate(der)))


def exported(name: str, port: int = 7000, protocol: str = "TCP") -> ServiceMessage:
    """A service as the old mesh exports it to its peer ``green-mesh``."""
    return ServiceMessage(
        name=name,
        namespace="bookinfo",
        hostname=f"{name}.bookinfo.svc.green-mesh-exports.local",
        service_ports=(ServicePort(protocol.lower(), port, protocol),),
        service_accounts=(str(account("ingress-green-mesh")),),
    )


def checksum(*services: ServiceMessage) -> int:
    return Catalogue(services).checksum


def listed(*services: ServiceMessage, checksum: int | None = None) -> bytes:
    """A list; without services it is a checksum alone."""
    body: Message = {"checksum": Catalogue(services).checksum if checksum is None else checksum}
    if services:
        body["services"] = [as_json(service) for service in services]
    return json.dumps(body, separators=(",", ":")).encode()


def as_json(service: ServiceMessage) -> Message:
    ports = [{"name": each.name, "port": each.port, "protocol": each.protocol} for each in service.service_ports]
    return {
        "name": service.name,
        "namespace": service.namespace,
        "hostname": service.hostname,
        "servicePorts": ports,
        "serviceAccounts": list(service.service_accounts),
    }
