"""TLS for a gRPC server whose certificate is renewed while it serves."""

from collections.abc import Callable

import grpc

from isthmus.identity import X509Svid


def server_credentials(
    svid: Callable[[], X509Svid], *, client_roots: Callable[[], bytes] | None = None
) -> grpc.ServerCredentials:
    """Credentials that ask ``svid`` at each new connection; those that are open keep what they have.

    ``client_roots`` (PEM) makes a client certificate under one of these roots required; without it none is asked for.
    Both are called from gRPC's own threads and must be quick.
    """

    def current() -> grpc.ServerCertificateConfiguration:
        served = svid()
        roots = None if client_roots is None else client_roots()
        return grpc.ssl_server_certificate_configuration([(served.key_pem, served.chain_pem)], root_certificates=roots)

    return grpc.dynamic_ssl_server_credentials(
        current(), current, require_client_authentication=client_roots is not None
    )
