"""All names of a cluster as a function of its Services and EndpointSlices.

Source: Kubernetes DNS-Based Service Discovery (the specification, 1.1.0).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import ObjectKey, key_of
from isthmus.lab.proxy.forwarding import owner_of

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


class Directory:
    """The records of a cluster, kept up to date Service by Service: a change costs that Service's names.

    ``records`` is what they are now, a live view. No two Services have a name in common.
    """

    def __init__(self, *, apps_domain: str) -> None:
        self.records = Records()
        self._apps_domain = apps_domain
        self._parts: dict[ObjectKey, Records] = {}
        self._uses: Counter[str] = Counter()
        zones = Records()
        zones.close([CLUSTER_DOMAIN, apps_domain])
        self._add(zones)

    def put(self, key: ObjectKey, service: Service | None, slices: Iterable[EndpointSlice]) -> None:
        """The Service is new, another, or (None) gone; ``slices`` are all of its slices."""
        before = self._parts.pop(key, None)
        if before is not None:
            self._remove(before)
        if service is not None:
            part = self._parts[key] = Records()
            _add_service(part, service, list(slices), apps_domain=self._apps_domain)
            part.close(())
            self._add(part)

    def _add(self, part: Records) -> None:
        self.records.addresses.update(part.addresses)
        self.records.services.update(part.services)
        self.records.aliases.update(part.aliases)
        self.records.names.update(part.names)
        self._uses.update(part.names)

    def _remove(self, part: Records) -> None:
        for name in part.addresses:
            self.records.addresses.pop(name, None)
        for name in part.services:
            self.records.services.pop(name, None)
        for name in part.aliases:
            self.records.aliases.pop(name, None)
        self._uses.subtract(part.names)
        unused = [name for name in part.names if not self._uses[name]]
        for name in unused:
            del self._uses[name]
        self.records.names.difference_update(unused)


def records(services: Iterable[Service], slices: Iterable[EndpointSlice], *, apps_domain: str) -> Records:
    """The records of a cluster."""
    pieces: dict[ObjectKey, list[EndpointSlice]] = defaultdict(list)
    for piece in slices:
        if (owner := owner_of(piece)) is not None:
            pieces[owner].append(piece)
    directory = Directory(apps_domain=apps_domain)
    for service in services:
        directory.put(key_of(service), service, pieces[key_of(service)])
    return directory.records


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
