"""Who may stand where a peer's ingress gateway should: servers with whatever certificate and manners a test wants."""

import base64
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.conftest import Site
from tests.e2e.old_mesh import listed
from tests.identity.corpus import Recipe

from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.identity import Authority, SpiffeId, TrustDomain, X509Svid
from isthmus.identity.pem import certificates_pem, private_key_pem

ADDRESS = "127.99.8.1"
Handler = Callable[[socket.socket], None]


def authority_of(site: Site) -> Authority:
    """The certificate authority of a mesh, as who may read its Secrets has it."""
    data = {key: base64.b64decode(value) for key, value in site.get("secret", "istio-ca-secret")["data"].items()}
    return Authority.load(
        ca_cert=data["ca-cert.pem"],
        ca_key=data["ca-key.pem"],
        cert_chain=data["cert-chain.pem"],
        root_cert=data["root-cert.pem"],
        now=datetime.now(UTC),
    )


def ingress_of(site: Site) -> SpiffeId:
    """Who answers for a mesh to the other."""
    domain = TrustDomain(f"{site.mesh}.local")
    account = f"ingress-{site.peer}-service-account"
    return SpiffeId.service_account(domain, namespace=site.namespace, account=account)


def svid_of(
    site: Site, *, now: datetime, lifetime: timedelta = timedelta(hours=1), account: str = "ingress"
) -> X509Svid:
    """A certificate of a mesh's ingress gateway, or of another, as it would have been issued at ``now``."""
    identity = SpiffeId.parse(str(ingress_of(site)).replace("/sa/ingress-", f"/sa/{account}-"))
    return authority_of(site).issue_svid(identity, lifetime=lifetime, now=now)


def list_of(site: Site) -> bytes:
    """What a mesh would list: one service, behind its ingress gateway."""
    name = f"ratings.bookinfo.svc.{site.peer}-exports.local"
    port = ServicePort("http", 9080, "HTTP")
    return listed(ServiceMessage("ratings", "bookinfo", name, (port,), (str(ingress_of(site)),)))


def context_of(svid: X509Svid) -> ssl.SSLContext:
    """TLS of a server with this certificate, which lets anyone in."""
    return _context(svid.key_pem + svid.chain_pem)


def website() -> ssl.SSLContext:
    """TLS of a server that is no workload of a mesh."""
    now = datetime.now(UTC)
    recipe = Recipe(subject="www", uris=(), not_before=now - timedelta(days=1), not_after=now + timedelta(days=1))
    return _context(private_key_pem(recipe.key) + certificates_pem([recipe.self_signed()]))


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(pem)
        context.load_cert_chain(file.name)
    return context


@contextmanager
def standing(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The server, at ADDRESS, and its port; a thread a connection."""
    with socket.create_server((ADDRESS, 0)) as server, ExitStack() as stack:
        threads: list[threading.Thread] = []

        def serve(plain: socket.socket) -> None:
            with suppress(OSError), plain:
                if context is None:
                    handler(plain)
                    return
                with context.wrap_socket(plain, server_side=True) as connection:
                    handler(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(30)
                    stack.callback(connection.close)
                    threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def greets(connection: socket.socket) -> None:
    """A server of something else, which speaks first."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    quiet(connection)


def quiet(connection: socket.socket) -> None:
    """Whatever comes, nothing is said."""
    while connection.recv(65536):
        pass


def hangs_up(connection: socket.socket) -> None:
    """Whatever comes, it is over."""
    connection.recv(1)


def website_page(connection: socket.socket) -> None:
    """Any page for any path."""
    _request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")


EMPTY_LIST = b'{"checksum":3035108133973235477}'


def peer(*, ahead_s: float = 0.0, listed: bytes | None = EMPTY_LIST) -> Handler:
    """A control plane behind its ingress gateway, whose clock is so far ahead, and which lists this, or (None) never
    answers when it is asked for its list."""

    def answer(connection: socket.socket) -> None:
        _, path = _request(connection)
        head = f"HTTP/1.1 200 OK\r\nisthmus-time: {time.time() + ahead_s:.3f}\r\nisthmus-heartbeat: 15\r\n"
        if listed is None and path.startswith("/v1/services"):
            connection.recv(1)
        elif path.startswith("/v1/watch"):
            connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            with suppress(TimeoutError):
                connection.recv(1)
        else:
            _list(connection, head, path, listed)

    return answer


def _list(connection: socket.socket, head: str, path: str, listed: bytes | None) -> None:
    body = (listed or b"") if path.startswith("/v1/services") else json.dumps({"peer": "red-mesh"}).encode()
    connection.sendall(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)


def _request(connection: socket.socket) -> tuple[str, str]:
    received = b""
    while b"\r\n\r\n" not in received:
        some = connection.recv(65536)
        if not some:
            raise OSError("gone")
        received += some
    method, path, _ = received.decode("latin-1").split(" ", 2)
    return method, path
