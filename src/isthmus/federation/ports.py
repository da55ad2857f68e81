"""Which port of an egress gateway stands for which imported port.

An allocation is kept as long as the import lives, because clients' connections and other replicas rely on it; it is
stored with the import, never only in memory. Source: docs/architecture.md, "How workloads reach what is imported".
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_PORT = 16_000
LAST_PORT = 32_767
"""Below Linux' ephemeral ports, from which the gateway itself connects out; above those that it listens on else."""


@dataclass(frozen=True, slots=True, order=True)
class ImportKey:
    """One port of one imported service: the peer, the exported host name, and the service's port."""

    peer: str
    hostname: str
    port: int


class PortsExhaustedError(Exception):
    """An egress gateway has no port left for another import."""


class PortBook:
    """The gateway ports of one egress gateway. Taking and giving back cost O(log n)."""

    def __init__(self, kept: Mapping[ImportKey, int] | None = None) -> None:
        """Start from what the imports hold. Of two that hold one port, the smaller key keeps it, on every replica."""
        self._ports: dict[ImportKey, int] = {}
        self._keys: dict[int, ImportKey] = {}
        for key, port in sorted((kept or {}).items()):
            if port not in self._keys and FIRST_PORT <= port <= LAST_PORT:
                self._hold(key, port)
        # A heap that may name a port that is taken, or one twice; it never lacks a free one.
        self._free = [port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in self._keys]

    def adopt(self, key: ImportKey, port: int) -> ImportKey | None:
        """Let the key hold this port, which another replica has given it; the key that held it before, if any.

        That one holds none any more. A port that no gateway has is not adopted.
        """
        before = self._keys.get(port)
        if before == key or not FIRST_PORT <= port <= LAST_PORT:
            return None
        self.give_back(key)
        if before is not None:
            del self._ports[before]
        self._hold(key, port)
        return before

    def take(self, key: ImportKey) -> int:
        """The port of this key: the one it holds, else the lowest that is free.

        Raises:
            PortsExhaustedError: all ports are in use.
        """
        port = self._ports.get(key)
        if port is None:
            while self._free and self._free[0] in self._keys:
                heapq.heappop(self._free)
            if not self._free:
                raise PortsExhaustedError(
                    f"no gateway port is left for {key.hostname}:{key.port}: {len(self._ports)} are in use"
                )
            port = heapq.heappop(self._free)
            self._hold(key, port)
        return port

    def give_back(self, key: ImportKey) -> None:
        """The import is gone; its port may be given to another."""
        port = self._ports.pop(key, None)
        if port is not None:
            del self._keys[port]
            heapq.heappush(self._free, port)

    def held(self) -> Mapping[ImportKey, int]:
        """All allocations."""
        return self._ports

    def _hold(self, key: ImportKey, port: int) -> None:
        self._ports[key] = port
        self._keys[port] = key
