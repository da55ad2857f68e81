"""What the kernel knows of TCP sockets in this network namespace (proc(5), /proc/net/tcp)."""

import socket
from pathlib import Path

_ESTABLISHED, _SYN_SENT, _CLOSE_WAIT = "01", "02", "08"


def served_at(host: str, port: int) -> int:
    """How many connections that were taken at this address and port are not closed yet on our side.

    The address counts: a port that the kernel has chosen may be that of somebody's own end at another address.
    """
    served = f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
    return sum(local == served and state in {_ESTABLISHED, _CLOSE_WAIT} for local, _, state in _sockets())


def calling(port: int) -> int:
    """How many sockets wait for this port to take their connection."""
    return sum(remote.endswith(f":{port:04X}") and state == _SYN_SENT for _, remote, state in _sockets())


def _sockets() -> list[tuple[str, str, str]]:
    """Local address, remote address and state of each."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(local, remote, state) for _, local, remote, state, *_ in lines]
