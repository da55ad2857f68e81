"""A peer for the tests of the probe: real TLS servers, each with the certificate and the manners that a test wants."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from tests.identity.corpus import CA, LEAF, OTHER_P256, P256, Recipe

from isthmus.identity import Authority, SpiffeId, TrustBundle, TrustDomain, certificates_pem
from isthmus.identity.pem import PrivateKey, private_key_pem
from isthmus.mutual_tls import unverifying_context
from isthmus.probe import OwnPod, ProbeOrder, Prober, Resolver
from isthmus.probe.prober import ALPN

RED: Final = TrustDomain("red-mesh.local")
GREEN: Final = TrustDomain("green-mesh.local")
OUR_EGRESS: Final = SpiffeId.service_account(RED, namespace="red-mesh-system", account="egress-service-account")
THEIR_INGRESS: Final = "spiffe://green-mesh.local/ns/green-mesh-system/sa/ingress-red-mesh-service-account"
POD: Final = "127.83.0.1"
PEER: Final = "127.83.0.2"
SERVER_NAME: Final = "discovery.red-mesh-system.svc.green-mesh.local"
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def now() -> datetime:
    return datetime.now(UTC)


def current(recipe: Recipe) -> Recipe:
    """The recipe for a certificate that holds now."""
    return replace(recipe, not_before=now() - timedelta(hours=1), not_after=now() + timedelta(hours=1))


SERVER: Final = replace(LEAF, uris=(THEIR_INGRESS,))
GREEN_ROOT: Final = replace(CA, subject="green root", key=OTHER_P256)


@dataclass
class GreenCa:
    """The peer's CA, whose root we know."""

    root: x509.Certificate = field(default_factory=lambda: current(GREEN_ROOT).self_signed())

    @property
    def bundle(self) -> TrustBundle:
        return TrustBundle.of(GREEN, [self.root])

    def sign(self, recipe: Recipe) -> x509.Certificate:
        return recipe.signed_by("green root", OTHER_P256)


class Us:
    """Our gateway pod: its CA, its certificate, and what tries for it."""

    def __init__(self, *, resolver: Resolver | None = None) -> None:
        self.authority = Authority.self_signed(RED, now=now())
        svid = self.authority.issue_svid(OUR_EGRESS, lifetime=timedelta(hours=1), now=now())
        context = unverifying_context(svid, alpn=ALPN)
        self.pod = OwnPod(name="egress-0", address=POD, resolver=resolver or Resolver(), context=lambda: context)
        self.prober = Prober(self.pod, open_for_s=0.5)

    @property
    def bundle(self) -> TrustBundle:
        return TrustBundle.of(RED, self.authority.roots)


def order(
    green: GreenCa, port: int, *addresses: str, timeout_s: float = 3.0, identities: Sequence[str] = ()
) -> ProbeOrder:
    """What the pilot asks for."""
    return ProbeOrder(
        addresses=addresses or (PEER,),
        port=port,
        server_name=SERVER_NAME,
        trust_domain=str(GREEN),
        roots=green.bundle.pem().decode(),
        identities=tuple(identities),
        timeout_s=timeout_s,
    )


def serving(
    chain: Sequence[x509.Certificate], *, key: PrivateKey = P256, clients: TrustBundle | None = None
) -> ssl.SSLContext:
    """TLS of a server with this chain; with ``clients`` it wants a certificate under one of these roots."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(private_key_pem(key) + certificates_pem(chain))
        file.flush()
        context.load_cert_chain(file.name)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem().decode())
    return context


def answering(content: bytes, *, requests: list[bytes] | None = None) -> Handler:
    """A server that waits for a request and sends this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(received)
        writer.write(content)

    return answer


def greeting(content: bytes) -> Handler:
    """A server that speaks first, and then closes."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(content)

    return greet


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes what comes and says nothing."""
    del writer
    while await reader.read(1000):
        pass


@contextlib.asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None, *, host: str = PEER) -> AsyncIterator[int]:
    """The server, and its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, host, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0)


@contextlib.contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """A server that must refuse who calls; a thread of its own, since asyncio's servers swallow their last alert."""

    def refuse() -> None:
        connection, _ = server.accept()
        with connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server((PEER, 0)) as server, ThreadPoolExecutor(1) as threads:
        refused = threads.submit(refuse)
        yield server.getsockname()[1]
        refused.result(timeout=5)
