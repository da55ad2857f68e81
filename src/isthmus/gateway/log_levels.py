"""What a gateway's processes log, set while they run: the agent's levels, and Envoy's through its admin socket.

The file is that of the mesh's ConfigMap; the kubelet replaces it in place. Without it, or while it cannot be used,
levels are as they were.
"""

import asyncio
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from isthmus.api.logs import LogSettings, ProxyLogging
from isthmus.gateway.admin import Admin, AdminError, AdminRefusalError
from isthmus.gateway.envoy_process import EnvoyProcess
from isthmus.logs import Levels

log = structlog.get_logger(__name__)

POLL_S = 1.0


class LogLevels:
    """Follows ``path`` as long as it runs; ``level`` is Envoy's where the mesh names none."""

    def __init__(self, path: Path, levels: Levels, *, envoy: EnvoyProcess, admin: Admin, level: str) -> None:
        self._path = path
        self._levels = levels
        self._envoy = envoy
        self._admin = admin
        self._level = level
        self._content = b""
        self._wanted = ProxyLogging()
        self._applied = (0, ProxyLogging())  # to which Envoy, and what
        self._told = ""

    async def run(self) -> NoReturn:
        """Follow the file, and have each Envoy that starts log as it says, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Read the file, and carry out what is new; also to an Envoy that is new."""
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError:
            content = self._content  # the ConfigMap is optional
        if content != self._content:
            self._content = content
            self._read(content)
        wanted = (self._envoy.pid, self._wanted)
        if self._envoy.running and wanted != self._applied:
            await self._apply(wanted)

    def _read(self, content: bytes) -> None:
        try:
            settings = msgspec.json.decode(content, type=LogSettings)
        except ValueError as error:
            self._tell(f"{self._path} cannot be used: {error}")
            return
        by_component, self._wanted = settings.general.logging.component_levels, settings.proxy.logging
        # By the former levels: who turns a log off sees that it was turned off.
        log.info("log levels set", levels=dict(by_component), envoy=self._wanted.level or self._level)
        unknown = self._levels.set(by_component)
        if unknown:
            log.warning("no such components to log of", components=unknown)

    async def _apply(self, wanted: tuple[int, ProxyLogging]) -> None:
        _, logging = wanted
        try:
            await self._admin.log_by(logging.level or self._level, logging.component_levels)
        except AdminRefusalError as error:
            self._applied = wanted  # it would be refused again
            self._tell(str(error))
        except AdminError:
            return  # it has just started, or hangs: at the next look
        else:
            self._applied, self._told = wanted, ""

    def _tell(self, reason: str) -> None:
        """Once for each reason."""
        if reason != self._told:
            self._told = reason
            log.warning("log levels stay as they are", reason=reason)
