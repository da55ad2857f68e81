"""What the HTTP servers of a lab have in common: uvicorn without its hold on the process, and who a client is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn
from cryptography import x509
from cryptography.x509.oid import NameOID


class HttpServer(uvicorn.Server):
    """uvicorn's server without its hold on the process's signals, which are the composition's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Peer(NamedTuple):
    """The user that a client certificate names (Kubernetes documentation, "X509 client certificates")."""

    user: str
    groups: tuple[str, ...]


def peer_of(der: bytes) -> Peer | None:
    """Whose certificate it is, which TLS has verified; None if it names nobody."""
    subject = x509.load_der_x509_certificate(der).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = tuple(str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return Peer(str(names[0].value), groups) if names else None
