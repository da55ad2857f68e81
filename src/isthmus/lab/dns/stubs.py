"""Stub zones: zones that are somebody else's (ConfigMap kube-system/kube-dns, key ``stubDomains``, as kube-dns has it).

``{"zone": ["address", "address:port", "name-of-a-service", "name-of-a-service:port"]}``; the port is 53 by default.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lightkube.models.core_v1 import ServicePort
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import ObjectKey, key_of
from isthmus.lab.dns.answer import within
from isthmus.lab.dns.records import CLUSTER_DOMAIN
from isthmus.lab.proxy.forwarding import owner_of, ready_backends

DEFAULT_PORT = 53
MOST_BYTES = 64 * 1024


class Upstream(NamedTuple):
    """A name server; ``host`` is an address or the cluster name of a Service."""

    host: str
    port: int


def parse_stubs(text: str) -> dict[str, tuple[Upstream, ...]]:
    """The stub zones of a ConfigMap's value. Raises ValueError with what is wrong."""
    what = "Reading stubDomains of ConfigMap kube-system/kube-dns"
    if len(text) > MOST_BYTES:
        raise ValueError(f"{what}: {len(text)} bytes are more than {MOST_BYTES}")
    parsed = json.loads(text)
    if not isinstance(parsed, dict):
        raise ValueError(f"{what}: expected a JSON object of zones, got {type(parsed).__name__}")
    return {zone.lower().rstrip("."): _upstreams(zone, servers) for zone, servers in parsed.items()}


def _upstreams(zone: str, servers: object) -> tuple[Upstream, ...]:
    if not isinstance(servers, list) or not all(isinstance(server, str) for server in servers):
        raise ValueError(f"Reading stub zone {zone!r}: expected a list of name servers")
    return tuple(_upstream(server) for server in servers)


def _upstream(text: str) -> Upstream:
    host, colon, port = text.rpartition(":")
    if not colon:
        return Upstream(text.lower().rstrip("."), DEFAULT_PORT)
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"Reading name server {text!r}: expected host:port with a port between 1 and 65535")
    return Upstream(host.lower().rstrip("."), int(port))


def stub_for(name: str, stubs: Mapping[str, tuple[Upstream, ...]]) -> tuple[Upstream, ...]:
    """The servers of the longest stub zone that a name is in; none if it is in none."""
    zones = [zone for zone in stubs if within(name, zone)]
    return stubs[max(zones, key=len)] if zones else ()


def named_service(upstream: Upstream) -> ObjectKey | None:
    """The Service that an upstream names, if it names one."""
    labels = upstream.host.removesuffix(f".svc.{CLUSTER_DOMAIN}").removesuffix(".svc").split(".")
    return ObjectKey(labels[1], labels[0]) if len(labels) == 2 else None


def locate(upstream: Upstream, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> tuple[Upstream, ...]:
    """Addresses for an upstream: for a Service its ready endpoints.

    The endpoints and not the cluster IP, because a user without privileges can't listen on port 53 there.
    """
    if upstream.host.replace(".", "").isdecimal():
        return (upstream,)
    name = named_service(upstream)
    service = next((s for s in services if key_of(s) == name), None)
    port = _port(service, upstream.port) if service is not None else None
    if port is None:
        return ()
    mine = [piece for piece in slices if owner_of(piece) == name]
    return tuple(Upstream(backend.address, backend.port) for backend in ready_backends(port, mine))


def _port(service: Service, number: int) -> ServicePort | None:
    ports = (service.spec.ports if service.spec else None) or []
    return next((port for port in ports if port.port == number and port.protocol == "UDP"), None)
