"""What keeps an import from being called, as far as its name here and the peer's own words tell.

Pure. A peer may tell anything: what cannot be carried out is left out by whoever would have to (fail closed), and told
to the administrator of the ImportedServiceSet in the words of this module. Source: docs/conditions.md.
"""

from collections.abc import Collection
from dataclasses import dataclass

from isthmus.federation.imports import ImportedName
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.names import (
    MAX_HOSTNAME_LENGTH,
    MAX_SERVER_NAME_BYTES,
    is_dns_label,
    is_server_name,
    outbound_sni,
)
from isthmus.federation.ports import FIRST_PORT, LAST_PORT
from isthmus.federation.servers import servers_of
from isthmus.identity import TrustDomain

MOST_SHOWN = 100
MOST_PORTS = 10
_ELSEWHERE = "have the peer export it under another name"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why calls to an import do not arrive: one word for programs, and what follows "imports X, " for people."""

    reason: str
    message: str


def excerpt(foreign: str) -> str:
    """Enough of a peer's word to recognise it, quoted and printable."""
    shown = ascii(foreign[:MOST_SHOWN])
    return shown if len(foreign) <= MOST_SHOWN else f"{shown}… ({len(foreign)} characters)"


def tcp_ports(service: ServiceMessage) -> tuple[int, ...]:
    """The TCP ports it has, sorted; of a port named twice, one."""
    return tuple(sorted({port.port for port in service.service_ports if port.port > 0}))


def service_hindrance(service: ServiceMessage, called: ImportedName) -> Hindrance | None:
    """Why no Service can stand for it; a peer's words end up in names and paths of the Kubernetes API."""
    unfit = next((each for each in (called.name.name, called.name.namespace) if not is_dns_label(each)), None)
    if unfit is not None:
        rule = "expected a-z, 0-9 and '-', at most 63"
        return Hindrance(
            "InvalidServiceName",
            f"which gets no Service: {excerpt(unfit)} cannot be part of a name in Kubernetes, {rule}; {_ELSEWHERE}",
        )
    if not tcp_ports(service):
        return Hindrance(
            "NoTCPPort",
            "which gets no Service: it has no TCP port, and nothing else is shared; have the peer give it one, or"
            " leave it out of the rule",
        )
    return None


def without_gateway_port() -> Hindrance:
    """The import, or what is new of it, has to wait for a port of the egress gateway."""
    return Hindrance(
        "NoGatewayPort",
        f"for which too few of the {LAST_PORT - FIRST_PORT + 1} gateway ports of this mesh are left: it stays as it was"
        " until others are given back; import fewer services, from this peer or from others",
    )


def unlike_service(service: ServiceMessage, called: ImportedName, ports: Collection[int]) -> Hindrance | None:
    """The local Service that it joins has none of its ports: none of its calls would arrive."""
    if not set(ports).isdisjoint(tcp_ports(service)):
        return None
    wanted, has = (", ".join(map(str, sorted(each)[:MOST_PORTS])) or "none" for each in (tcp_ports(service), ports))
    return Hindrance(
        "LocalServiceDiffers",
        f"with ports {wanted}, into Service {called.name}, which has ports {has}: nothing of it can be called; give it"
        " another alias, or the Service these ports",
    )


def not_written(why: str) -> Hindrance:
    """The cluster does not take the objects of the import, for what it says."""
    return Hindrance(
        "NotWritten",
        f"which is not in the cluster as it should be: {why}; remove that cause, it is tried again within a minute",
    )


def hindrance(service: ServiceMessage, called: ImportedName, trust_domain: TrustDomain | None) -> Hindrance | None:
    """The first reason why it cannot be called, or not on each of its ports, or not by its name.

    ``trust_domain`` is the peer's; None while that is not known, or not asked about.
    """
    return (
        service_hindrance(service, called)
        or (_without_server(service, trust_domain) if trust_domain is not None else None)
        or _without_name(called)
        or _without_server_name(service)
    )


def _without_server(service: ServiceMessage, trust_domain: TrustDomain) -> Hindrance | None:
    """Nobody may answer for it: nothing listens behind its Service, and its callers' connections are refused."""
    accounts = service.service_accounts
    if servers_of(accounts, trust_domain):
        return None
    named = f"{excerpt(accounts[0])} and {len(accounts) - 1} more" if accounts else "nobody"
    return Hindrance(
        "NoTrustedServer",
        f"which nobody may answer for: expected an identity of {trust_domain}, and the peer names {named}; correct"
        " spec.security.trustDomain of the ServiceMeshPeer, or have the peer name its ingress gateway",
    )


def _without_name(called: ImportedName) -> Hindrance | None:
    if called.is_local or len(called.hostname) <= MAX_HOSTNAME_LENGTH:
        return None
    return Hindrance(
        "InvalidHostname",
        f"whose name here does not resolve: expected at most {MAX_HOSTNAME_LENGTH} characters, not"
        f" {excerpt(called.hostname)}; give it a shorter alias or domainSuffix",
    )


def _without_server_name(service: ServiceMessage) -> Hindrance | None:
    """The egress gateway has no name to ask the peer for: its callers' connections are closed."""
    names = [outbound_sni(service.hostname, port) for port in tcp_ports(service)]
    unfit = [name for name in names if not is_server_name(name)]
    if not unfit:
        return None
    return Hindrance(
        "InvalidServerName",
        f"which cannot be called on {len(unfit)} of its {len(names)} ports: {excerpt(unfit[-1])} can be no server name,"
        f" expected at most {MAX_SERVER_NAME_BYTES} letters, digits, '-', '_' and '.'; {_ELSEWHERE}",
    )
