"""The clusters of this machine: their folders, their parts of 127.0.0.0/8, and whether they run.

Each cluster owns a /13, chosen at its first start and kept: block k is 127.(16+8k).0.0/13. With b = 16+8k:

    127.b.0.1            the node, the API server (port 6443) and the name server (port 10053)
    127.(b+1).0.0/16     pods
    127.(b+2).0.0/16     Services
    127.(b+3).0.0/16     load balancers
    127.(b+4..b+7).0.0   not used yet

So clusters never meet, on Linux no set-up is needed, and an address says whose it is. 127.0.0.0 to 127.15.255.255 is
left to everybody else. Which block comes first depends on the folder of all clusters, so that two users (or two test
runs) of one machine, who do not see each other's folders, hardly ever choose the same one.
"""

import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

FIRST_BLOCK, BLOCK_SIZE, BLOCKS = 16, 8, 29  # the last is 127.240.0.0/13
API_PORT, DNS_PORT = 6443, 10053
DEFAULT_APPS_DOMAIN = "apps.{name}.test"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
RECORD, LOCK, READY = "cluster.json", "lock", "ready"


class NameServer(NamedTuple):
    """Where names are asked for."""

    host: str
    port: int


class ClusterError(Exception):
    """Something about a cluster that its user can set right; the message says what."""


class ClusterRunningError(ClusterError):
    """The cluster runs already, in another process."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What is fixed at a cluster's first start."""

    name: str
    block: int
    apps_domain: str

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
        return self.range(1)

    @property
    def services(self) -> IPv4Network:
        """Where Services get their addresses from."""
        return self.range(2)

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


class ClusterFolder:
    """One cluster's folder: ``<root>/<name>``."""

    def __init__(self, root: Path, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ClusterError(
                f"Naming a cluster {name!r}: expected up to 40 lower-case letters, digits and '-', as in 'red'"
            )
        self.root = root
        self.name = name
        self.path = root / name
        self.kubeconfig = self.path / "kubeconfig"
        self.log = self.path / "lab.log"

    def exists(self) -> bool:
        """Whether the cluster has ever been started."""
        return (self.path / RECORD).exists()

    def plan(self) -> ClusterPlan:
        """What was fixed at the first start. Raises ClusterError if there was none, or its record is damaged."""
        path = self.path / RECORD
        try:
            return ClusterPlan(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise ClusterError(f"Looking for cluster {self.name!r}: there is none in {self.root}") from None
        except (ValueError, TypeError) as error:
            raise ClusterError(f"Reading {path}: {error}; delete the cluster and make it anew") from error

    def prepare(self, *, apps_domain: str | None) -> ClusterPlan:
        """The plan of the cluster, made now if this is its first start.

        Raises ClusterError if no block of addresses is free, or another apps domain was fixed before.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = (apps_domain or DEFAULT_APPS_DOMAIN).replace("<name>", "{name}").replace("{name}", self.name)
        if self.exists():
            plan = self.plan()
            if apps_domain is not None and plan.apps_domain != wanted:
                raise ClusterError(
                    f"Starting cluster {self.name!r} with apps domain {wanted}: it has been made with "
                    f"{plan.apps_domain}; delete it first"
                )
            return plan
        with _locked(self.root / LOCK):
            plan = ClusterPlan(name=self.name, block=_free_block(self.root), apps_domain=wanted)
            write_private(self.path / RECORD, json.dumps(asdict(plan)))
        return plan

    def hold(self) -> int:
        """Make this process the one that runs the cluster; the descriptor is the hold, and is kept until the end.

        Raises ClusterRunningError if another process does.
        """
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ClusterRunningError(f"Starting cluster {self.name!r}: process {self.pid()} runs it already") from None
        (self.path / READY).unlink(missing_ok=True)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor

    def pid(self) -> int | None:
        """The process that runs the cluster, None if none does."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 32).decode()
            return int(text) if text.isdecimal() else None
        finally:
            os.close(descriptor)
        return None

    def ready(self) -> bool:
        """Whether the process that runs the cluster has said that all of it works."""
        pid = self.pid()
        try:
            return pid is not None and (self.path / READY).read_text() == str(pid)
        except FileNotFoundError:
            return False

    def mark_ready(self) -> None:
        """Say that all of the cluster works."""
        write_private(self.path / READY, str(os.getpid()))


def folders(root: Path) -> list[ClusterFolder]:
    """All clusters that have ever been started, by name."""
    return [ClusterFolder(root, path.parent.name) for path in sorted(root.glob(f"*/{RECORD}"))]


def other_zones(root: Path, name: str) -> list[tuple[str, NameServer]]:
    """The apps domains of the other clusters with their name servers."""
    plans = [folder.plan() for folder in folders(root) if folder.name != name]
    return [(plan.apps_domain, plan.dns) for plan in plans]


class OtherZones:
    """The apps domains of the other clusters, looked up at most every ``LOOKED_UP_FOR_S``: a lookup reads files."""

    def __init__(self, root: Path, name: str, *, clock: Callable[[], float]) -> None:
        """Those of all clusters but ``name``; the clock counts seconds."""
        self._root = root
        self._name = name
        self._clock = clock
        self._until = float("-inf")
        self._found: list[tuple[str, NameServer]] = []

    def __call__(self) -> list[tuple[str, NameServer]]:
        """Zones with their name servers."""
        if self._clock() >= self._until:
            self._found, self._until = other_zones(self._root, self._name), self._clock() + LOOKED_UP_FOR_S
        return self._found


LOOKED_UP_FOR_S = 0.25


def _free_block(root: Path) -> int:
    taken = {folder.plan().block for folder in folders(root)}
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


def write_private(path: Path, text: str) -> None:
    """Write a small file that only its owner can read, so that it is there wholly or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.rename(path)


class _locked:  # noqa: N801 - used as a function
    """An exclusive lock on a file, for as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
