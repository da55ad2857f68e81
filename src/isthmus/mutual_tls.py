"""Mutual TLS between the processes of a mesh, and of a gateway that tries who answers at a peer.

Both ends have SVIDs, so that a certificate proves an identity and not a host name: host names are not checked, SPIFFE
ids are, before the first byte of a request is sent or answered. Source: SPIFFE X509-SVID §5.
"""

import os
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from isthmus.identity import (
    InvalidCertificateError,
    SpiffeId,
    TrustBundle,
    X509Svid,
    certificate_of_der,
    spiffe_id_of,
)


def server_context(svid: X509Svid, *, client_roots: TrustBundle) -> ssl.SSLContext:
    """TLS for a server that requires a client certificate under one of ``client_roots``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session would carry on with a client certificate that was checked against former roots.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return _mutual(context, svid, client_roots)


def client_context(svid: X509Svid, *, server_roots: TrustBundle) -> ssl.SSLContext:
    """TLS for a client with the certificate ``svid``; the caller checks who the server is with ``peer_identity``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _mutual(context, svid, server_roots)


def anonymous_context(*, server_roots: TrustBundle) -> ssl.SSLContext:
    """TLS for a client without a certificate; the caller checks who the server is with ``peer_identity``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _verifying(context, server_roots)


def unverifying_context(svid: X509Svid, *, alpn: Sequence[str]) -> ssl.SSLContext:
    """TLS for a client with the certificate ``svid`` that wants to see any server's certificate, good or not.

    Nothing is verified here: the caller must judge ``presented_chain`` before it sends or believes a word.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    _present(context, svid)
    return context


def presented_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the other end has sent, as DER, its own first; none of them is verified."""
    if sys.version_info >= (3, 13):
        return tuple(connection.get_unverified_chain())
    # Until 3.13 only the object that an SSLObject wraps tells it; a test with intermediates runs on every version.
    chain = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain or ())


def peer_identity(connection: ssl.SSLObject) -> SpiffeId:
    """Who the other end is, once the handshake has verified its certificate.

    Raises InvalidCertificateError: it sent none, or one that is no SVID.
    """
    der = connection.getpeercert(binary_form=True)
    if not der:
        raise InvalidCertificateError("the other end sent no certificate")
    return identity_of(der)


def identity_of(der: bytes) -> SpiffeId:
    """The SPIFFE id of a verified certificate; raises InvalidCertificateError if it is no SVID."""
    return spiffe_id_of(certificate_of_der(der))


class ReplaceableContext:
    """TLS of a server that keeps listening while its certificate and its roots are replaced.

    ``listening`` is what the server listens with; connections made after :meth:`replace` get the new context, those
    that are open stay as they are.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.listening: Final = context
        self._current = context
        context.sni_callback = self._choose

    def replace(self, context: ssl.SSLContext) -> None:
        """Use ``context`` from the next connection on."""
        self._current = context

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, _: ssl.SSLContext) -> None:
        # OpenSSL asks for a context by name in every handshake, also in one without a name.
        del server_name
        if self._current is not self.listening:
            connection.context = self._current


def _mutual(context: ssl.SSLContext, svid: X509Svid, roots: TrustBundle) -> ssl.SSLContext:
    _verifying(context, roots)
    _present(context, svid)
    return context


def _verifying(context: ssl.SSLContext, roots: TrustBundle) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Envoy's upstream connections end at 1.2 unless told otherwise
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=roots.pem().decode("ascii"))
    return context


def _present(context: ssl.SSLContext, svid: X509Svid) -> None:
    with _file_in_memory(svid.key_pem + svid.chain_pem) as path:
        context.load_cert_chain(path)


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """A path to read ``content`` from; OpenSSL takes a key only from a file, and a private key goes to no disk."""
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
