"""All names of a cluster as a function of its Services and EndpointSlices.

Source: Kubernetes DNS-Based Service Discovery (the specification, 1.1.0).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import ObjectKey, key_of
from isthmus.lab.proxy.forwarding import service_of

CLUSTER_DOMAIN = "cluster.local"


class Srv(NamedTuple):
    """What an SRV record says."""

    port: int
    target: str


@dataclass(slots=True)
class Records:
    """Every name with its records; names are in lower case and without the last dot.

    ``names`` has every name that exists, those included that only have others below them.
    """

    addresses: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    services: dict[str, set[Srv]] = field(default_factory=lambda: defaultdict(set))
    aliases: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def close(self, zones: Iterable[str]) -> None:
        """Fill in ``names``: everything between a name and its zone exists as well (RFC 8020)."""
        for name in [*self.addresses, *self.services, *self.aliases, *zones]:
            labels = name.split(".")
            self.names |= {".".join(labels[start:]) for start in range(len(labels))}


def service_name(key: ObjectKey) -> str:
    """``<service>.<namespace>.svc.cluster.local``."""
    return f"{key.name}.{key.namespace}.svc.{CLUSTER_DOMAIN}"


def records(services: Iterable[Service], slices: Iterable[EndpointSlice], *, apps_domain: str) -> Records:
    """The records of a cluster."""
    pieces: dict[ObjectKey, list[EndpointSlice]] = defaultdict(list)
    for piece in slices:
        if (name := service_of(piece)) is not None:
            pieces[ObjectKey(key_of(piece).namespace, name)].append(piece)
    found = Records()
    for service in services:
        _add_service(found, service, pieces[key_of(service)], apps_domain=apps_domain)
    found.close([CLUSTER_DOMAIN, apps_domain])
    return found


def _add_service(found: Records, service: Service, slices: list[EndpointSlice], *, apps_domain: str) -> None:
    spec, key = service.spec, key_of(service)
    name = service_name(key)
    if spec is None:
        return
    if spec.type == "ExternalName":
        found.aliases[name] = (spec.externalName or "").lower().rstrip(".")
    elif spec.clusterIP == "None":
        _add_headless(found, name, slices)
    elif spec.clusterIP:
        found.addresses[name].add(spec.clusterIP)
        for port in spec.ports or []:
            if port.name:
                found.services[_srv(port.name, port.protocol, name)].add(Srv(port.port, name))
    balancer = service.status.loadBalancer if service.status else None
    for ingress in (balancer.ingress if balancer else None) or []:
        if ingress.ip:
            found.addresses[f"{key.name}.{key.namespace}.{apps_domain}".lower()].add(ingress.ip)


def _add_headless(found: Records, name: str, slices: list[EndpointSlice]) -> None:
    """A headless Service's name has the ready endpoints' addresses, and each of those a name of its own."""
    found.addresses[name] |= set()
    for piece in slices:
        for endpoint in piece.endpoints or []:
            if piece.addressType != "IPv4" or (endpoint.conditions and endpoint.conditions.ready is False):
                continue
            address = endpoint.addresses[0]
            host = f"{endpoint.hostname or address.replace('.', '-')}.{name}"
            found.addresses[name].add(address)
            found.addresses[host].add(address)
            for port in piece.ports or []:
                if port.name and port.port:
                    found.services[_srv(port.name, port.protocol, name)].add(Srv(port.port, host))


def _srv(port: str, protocol: str | None, name: str) -> str:
    return f"_{port}._{(protocol or 'TCP').lower()}.{name}"
