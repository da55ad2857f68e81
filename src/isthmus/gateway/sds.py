"""The secret discovery service of one pod, for its own Envoy, over a Unix socket in a private directory.

Who may read the socket is decided by the directory's mode alone: only this user reaches it.
"""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import structlog

from isthmus.envoy.message import SECRET
from isthmus.gateway.secrets import certificate_resource, root_resource
from isthmus.identity import TrustBundle, X509Svid
from isthmus.xds import SECRETS, DeltaService, Rejection, ResourceTable

log = structlog.get_logger(__name__)


class LocalSecrets:
    """What the pod's Envoy is given; each ``set`` replaces what it had, without a restart of anything."""

    def __init__(self) -> None:
        self._table = ResourceTable()

    def set_certificate(self, svid: X509Svid) -> None:
        """Serve this key and chain from now on."""
        self._table.put(SECRET, certificate_resource(svid))

    def set_root(self, bundle: TrustBundle) -> None:
        """Serve these roots from now on."""
        self._table.put(SECRET, root_resource(bundle))

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Serve on the Unix socket at ``path``, which must not exist yet."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((DeltaService(self, methods=(SECRETS,)).handlers(),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(grace=None)

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        """Whoever reaches the socket is this pod's Envoy."""
        del identities, metadata
        return "envoy", self._table

    def connected(self, client: str) -> None:
        """Not worth a line: one stream for each secret and use."""

    def disconnected(self, client: str, stream: Hashable) -> None:
        """Likewise."""

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None:
        """Nothing is to be noted."""

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        """Envoy keeps the secret that it had."""
        log.info("secret refused", client=client, secrets=rejection.names, reason=rejection.reason)
