"""Ranges of addresses that a user chooses for pods and Services, instead of the cluster's part of 127.0.0.0/8.

A process can use any address of 127.0.0.0/8 without set-up; of another range, only what the machine has been told to
take for its own (``ip route add local RANGE dev lo``, which needs root once).
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network

from isthmus.lab.errors import ClusterError

SMALLEST_PREFIX, LONGEST_PREFIX = 8, 28


def parse_range(text: str, *, option: str) -> IPv4Network:
    """The range that an option names. Raises ClusterError for what is none, or too small or large."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ClusterError(f"Reading {option} {text!r}: {error}; expected a range such as 10.88.0.0/16") from None
    if not SMALLEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
        raise ClusterError(
            f"Reading {option} {text}: expected a prefix between /{SMALLEST_PREFIX} and /{LONGEST_PREFIX}, "
            "as in 10.88.0.0/16"
        )
    return network


def require_disjoint(ours: Iterable[IPv4Network], others: Iterable[tuple[str, IPv4Network]]) -> None:
    """Raises ClusterError if one of our ranges meets another of ours, or one of the others, which are named."""
    taken = list(others)
    for network in ours:
        for name, other in taken:
            if network.overlaps(other):
                raise ClusterError(f"Choosing {network}: it meets {other}, the range of {name}; choose another one")
        taken.append(("this cluster", network))


def require_here(network: IPv4Network) -> None:
    """Raises ClusterError if processes of this machine can't have the addresses of a range."""
    for address in (network[1], network[-2]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((str(address), 0))
            except OSError as error:
                raise ClusterError(
                    f"Using the addresses {network}: {address} is not this machine's ({error.strerror}); "
                    f"make them so, as root: ip route add local {network} dev lo"
                ) from None
