"""What is fixed at a cluster's first start: its name, its addresses, its domain.

Each cluster owns a /13, chosen at its first start and kept: block k is 127.(16+8k).0.0/13. With b = 16+8k:

    127.b.0.1            the node, the API server (port 6443) and the name server (port 10053)
    127.(b+1).0.0/16     pods
    127.(b+2).0.0/16     Services
    127.(b+3).0.0/16     load balancers
    127.(b+4..b+7).0.0   not used yet

So clusters never meet, on Linux no set-up is needed, and an address says whose it is. 127.0.0.0 to 127.15.255.255 is
left to everybody else. Which block comes first depends on the folder of all clusters, so that two users (or two test
runs) of one machine, who do not see each other's folders, hardly ever choose the same one.

Pods and Services may have ranges of their user's choice instead (``ranges``).
"""

import hashlib
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from isthmus.lab.errors import ClusterError
from isthmus.lab.ranges import parse_range

FIRST_BLOCK, BLOCK_SIZE, BLOCKS = 16, 8, 29  # the last is 127.240.0.0/13
API_PORT, DNS_PORT = 6443, 10053
DEFAULT_APPS_DOMAIN = "apps.{name}.test"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class NameServer(NamedTuple):
    """Where names are asked for."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What is fixed at a cluster's first start."""

    name: str
    block: int
    apps_domain: str
    pod_cidr: str | None = None
    service_cidr: str | None = None

    def require(self, wishes: "Wishes") -> None:
        """Raises ClusterError if something else is wished than what was fixed."""
        fixed = {
            "apps domain": (wishes.domain(self.name), self.apps_domain),
            "pods in": (wishes.pod_cidr, str(self.pods)),
            "Services in": (wishes.service_cidr, str(self.services)),
        }
        for what, (wished, found) in fixed.items():
            if wished is not None and wished != found:
                raise ClusterError(
                    f"Starting cluster {self.name!r} with {what} {wished}: it has been made with {found}; "
                    "delete it first"
                )

    @property
    def chosen(self) -> list[IPv4Network]:
        """The ranges that its user has chosen."""
        return [IPv4Network(text) for text in (self.pod_cidr, self.service_cidr) if text is not None]

    @property
    def address(self) -> str:
        """The cluster's own address: node, API server, name server."""
        return f"127.{self.block}.0.1"

    def range(self, offset: int) -> IPv4Network:
        """One of the cluster's /16 networks."""
        return IPv4Network(f"127.{self.block + offset}.0.0/16")

    @property
    def pods(self) -> IPv4Network:
        """Where pods get their addresses from."""
        return self.range(1) if self.pod_cidr is None else IPv4Network(self.pod_cidr)

    @property
    def services(self) -> IPv4Network:
        """Where Services get their addresses from."""
        return self.range(2) if self.service_cidr is None else IPv4Network(self.service_cidr)

    @property
    def load_balancers(self) -> IPv4Network:
        """Where load balancers get their addresses from."""
        return self.range(3)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{API_PORT}"

    @property
    def dns(self) -> NameServer:
        """The name server."""
        return NameServer(self.address, DNS_PORT)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be wished for a cluster at its first start; None leaves the choice to the cluster."""

    apps_domain: str | None = None
    pod_cidr: str | None = None
    service_cidr: str | None = None

    def domain(self, name: str) -> str | None:
        """The wished apps domain of the cluster of that name, which stands for ``{name}`` (or ``<name>``)."""
        template = self.apps_domain
        return None if template is None else template.replace("<name>", "{name}").replace("{name}", name)

    def plan(self, name: str, *, block: int) -> ClusterPlan:
        """The plan of a cluster for which this is wished. Raises ClusterError for a range that is none."""
        for option, text in (("--pod-cidr", self.pod_cidr), ("--service-cidr", self.service_cidr)):
            if text is not None:
                parse_range(text, option=option)
        domain = self.domain(name) or DEFAULT_APPS_DOMAIN.replace("{name}", name)
        return ClusterPlan(name, block, domain, pod_cidr=self.pod_cidr, service_cidr=self.service_cidr)


def free_block(root: Path, taken: Collection[int]) -> int:
    """The first block that no other cluster has. Raises ClusterError if there is none left."""
    first = int.from_bytes(hashlib.sha256(str(root.resolve()).encode()).digest()[:4])
    for number in range(BLOCKS):
        block = FIRST_BLOCK + BLOCK_SIZE * ((first + number) % BLOCKS)
        if block not in taken and _can_bind(f"127.{block}.0.1", API_PORT):
            return block
    raise ClusterError(f"Choosing addresses for a cluster: all {BLOCKS} blocks are in use; delete a cluster")


def _can_bind(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
