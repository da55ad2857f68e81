"""Envoy's admin interface, over its Unix socket: is it ready, how much is going on, drain, log.

Source: Envoy "Administration interface".
"""

from collections.abc import Mapping
from pathlib import Path

import httpx2

TIMEOUT_S = 2.0
_ACTIVE = r"^listener\.(discovery|imports|services|.*_[0-9]+)\.downstream_cx_active$"
"""By the names under which our listeners are counted (``isthmus.envoy``), or else their addresses; not the workers'."""


class AdminError(Exception):
    """Envoy does not answer on its admin socket, or not as expected; the message is one line."""


class AdminRefusalError(AdminError):
    """Envoy does not take what it was asked for; it would not take it another time either."""


class Admin:
    """Asks one Envoy; holds no connection between calls."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def state(self) -> str:
        """``LIVE``, ``DRAINING``, ``PRE_INITIALIZING`` or ``INITIALIZING``; raises AdminError: no answer."""
        return (await self._ask("GET", "/ready")).text.strip()

    async def active_connections(self) -> int:
        """Connections from downstream, over all listeners but the admin interface; raises AdminError."""
        answer = await self._ask("GET", "/stats", params={"filter": _ACTIVE})
        try:
            return sum(int(line.rpartition(": ")[2]) for line in answer.text.splitlines())
        except ValueError as error:
            raise AdminError(f"Envoy does not tell its connections: {answer.text[:200]!a}") from error

    async def drain(self) -> None:
        """Begin to close listeners and connections gracefully, over the drain time; raises AdminError: no answer."""
        await self._ask("POST", "/drain_listeners", params={"graceful": "", "skip_exit": ""})

    async def log_by(self, level: str, by_component: Mapping[str, str]) -> None:
        """Have Envoy log of itself by ``level``, and by another one for some of its components.

        Raises AdminError: no answer; AdminRefusalError: there is no such level or component.
        """
        await self._set_level({"level": level}, what=f"level {level}")
        for component, its_level in sorted(by_component.items()):
            await self._set_level({"paths": f"{component}:{its_level}"}, what=f"level {its_level} of {component}")

    async def _set_level(self, params: dict[str, str], *, what: str) -> None:
        answer = await self._ask("POST", "/logging", params=params)
        if answer.status_code != 200 or "error" in answer.text.partition("\n")[0]:
            raise AdminRefusalError(f"Envoy does not log by {what}: {answer.text.strip().partition(chr(10))[0][:200]}")

    async def _ask(self, method: str, path: str, params: dict[str, str] | None = None) -> httpx2.Response:
        # verify: there is no TLS on a Unix socket, and reading the system's roots for it takes 20 ms.
        transport = httpx2.AsyncHTTPTransport(uds=str(self._socket), verify=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://envoy", timeout=TIMEOUT_S) as client:
            try:
                return await client.request(method, path, params=params)
            except httpx2.TransportError as error:
                raise AdminError(f"Envoy does not answer {path} on its admin socket: {error}") from error
