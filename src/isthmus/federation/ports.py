"""Which port of an egress gateway stands for which imported port.

An allocation is kept as long as the import lives, because clients' connections and other replicas rely on it; it is
stored with the import, never only in memory. Source: docs/architecture.md, "How workloads reach what is imported".
"""

from collections.abc import Iterable, Mapping
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


def allocate(kept: Mapping[ImportKey, int], wanted: Iterable[ImportKey]) -> dict[ImportKey, int]:
    """A port for each wanted key: the one it has, else the lowest that is free.

    Of two keys that hold the same port (two replicas wrote at once), the smaller keeps it, so that all agree.

    Raises:
        PortsExhaustedError: more ports are wanted than the range has.
    """
    ports: dict[ImportKey, int] = {}
    taken: set[int] = set()
    newcomers = []
    for key in sorted(set(wanted)):
        port = kept.get(key)
        if port is None or port in taken or not FIRST_PORT <= port <= LAST_PORT:
            newcomers.append(key)
        else:
            ports[key] = port
            taken.add(port)
    free = (port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in taken)
    for key in newcomers:
        port = next(free, None)
        if port is None:
            raise PortsExhaustedError(f"no gateway port is left for {key.hostname}:{key.port}: {len(ports)} are in use")
        ports[key] = port
    return ports
