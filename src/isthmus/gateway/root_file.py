"""The file with the mesh's roots, followed: the kubelet replaces it in place when the mesh's CA changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from isthmus.identity import InvalidBundleError, TrustBundle, TrustDomain

log = structlog.get_logger(__name__)

POLL_S = 1.0


class RootFile:
    """Reads ``path`` as long as it runs and hands each new bundle to ``publish``.

    A file that cannot be read or holds no bundle is logged once, and what was known stays.
    """

    def __init__(self, path: Path, trust_domain: TrustDomain, publish: Callable[[TrustBundle], None]) -> None:
        self._path = path
        self._trust_domain = trust_domain
        self._publish = publish
        self._content = b""
        self._bundle: TrustBundle | None = None
        self._reason = ""

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Read the file once."""
        try:
            await self._read()
        except OSError as error:
            self._note(f"{error.strerror}")
        except InvalidBundleError as error:
            self._note(str(error))

    async def _read(self) -> None:
        content = await asyncio.to_thread(self._path.read_bytes)
        if content == self._content:
            return
        self._content = content
        bundle = TrustBundle.parse(self._trust_domain, content)
        self._reason = ""
        if bundle != self._bundle:
            self._bundle = bundle
            log.info("root certificates read", path=str(self._path), fingerprints=bundle.fingerprints())
            self._publish(bundle)

    def _note(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            log.info("root certificates cannot be read, keeping what is known", path=str(self._path), reason=reason)
