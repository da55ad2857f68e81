"""Names to IP addresses, as the gateway's Envoy resolves them: by its own DNS server, or by the machine's.

IPv4 is preferred, as in Envoy's clusters: IPv6 addresses count where there are no others.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

import dns.asyncresolver
import dns.exception

MAX_HOSTS: Final = 8
"""Addresses of a name that are tried."""


class NotResolvedError(Exception):
    """There is no IP address; the message is what the resolver said, in one line."""


class Resolver:
    """Resolves by the DNS server at an IP address and port; by the machine's configuration without one."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        self._server = server

    async def resolve(self, name: str, *, timeout_s: float) -> tuple[str, ...]:
        """Some IP addresses of ``name``, which may be one itself; raises NotResolvedError."""
        if _is_ip(name):
            return (name,)
        found = await (self._ask_system(name, timeout_s) if self._server is None else self._ask(name, timeout_s))
        if not found:
            raise NotResolvedError(f"{name} has no address")
        return found[:MAX_HOSTS]

    async def _ask(self, name: str, timeout_s: float) -> tuple[str, ...]:
        address, port = self._server or ("", 0)
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = [address], port, timeout_s
        try:
            for kind in ("A", "AAAA"):
                answer = await resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
                if answer.rrset is not None:
                    return tuple(sorted(str(record) for record in answer.rrset))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NotResolvedError((str(error).splitlines() or [type(error).__name__])[0][:300]) from error
        return ()

    async def _ask_system(self, name: str, timeout_s: float) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise NotResolvedError(f"no answer from DNS within {timeout_s:g} s") from error
        except (OSError, UnicodeError) as error:
            raise NotResolvedError(getattr(error, "strerror", None) or str(error)) from error
        return _ipv4_first(str(sockaddr[0]) for *_, sockaddr in found)


def _ipv4_first(addresses: Iterable[str]) -> tuple[str, ...]:
    unique = sorted(dict.fromkeys(addresses))
    return tuple(one for one in unique if ":" not in one) or tuple(unique)


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
