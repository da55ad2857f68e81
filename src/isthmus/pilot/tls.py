"""TLS of the pilot's own ends of discovery, made of its certificate and kept as it is renewed."""

import ssl

from isthmus.identity import TrustBundle, X509Svid
from isthmus.mutual_tls import client_context, server_context
from isthmus.pilot.trust import OwnIdentity


class OwnTls:
    """The contexts that go with the pilot's certificate of the moment."""

    def __init__(self, identity: OwnIdentity, roots: TrustBundle) -> None:
        self._identity = identity
        self._roots = roots
        self._client: tuple[X509Svid, ssl.SSLContext] | None = None

    def client(self) -> ssl.SSLContext:
        """For calls to our egress gateways; one context for as long as the certificate lasts."""
        svid = self._identity.current()
        if self._client is None or self._client[0] is not svid:
            self._client = (svid, client_context(svid, server_roots=self._roots))
        return self._client[1]

    def server(self) -> ssl.SSLContext:
        """For calls from our ingress gateways."""
        return server_context(self._identity.current(), client_roots=self._roots)
