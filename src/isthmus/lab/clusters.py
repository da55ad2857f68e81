"""The clusters of this machine: their folders, and whether they run. Which addresses they have is in ``plan``."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import IPv4Network
from pathlib import Path

from isthmus.lab.errors import ClusterError, ClusterRunningError
from isthmus.lab.plan import NAME, ClusterPlan, NameServer, Wishes, free_block
from isthmus.lab.ranges import require_disjoint, require_here

RECORD, LOCK, READY = "cluster.json", "lock", "ready"


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

    def prepare(self, wishes: Wishes | None = None) -> ClusterPlan:
        """The plan of the cluster, made now if this is its first start.

        Raises ClusterError if no block of addresses is free, if what is wished can't be had, or if something else was
        fixed before; also if the machine does not have a range of addresses that was chosen.
        """
        wishes = wishes or Wishes()
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.root / LOCK):
            plan = self.plan() if self.exists() else self._first_plan(wishes)
            plan.require(wishes)
            for network in plan.chosen:
                require_here(network)
            if not self.exists():
                self.path.mkdir(mode=0o700, exist_ok=True)
                write_private(self.path / RECORD, json.dumps(asdict(plan)))
        return plan

    def _first_plan(self, wishes: Wishes) -> ClusterPlan:
        others = [folder.plan() for folder in folders(self.root) if folder.name != self.name]
        plan = wishes.plan(self.name, block=free_block(self.root, {other.block for other in others}))
        taken = [(f"cluster {other.name!r}", network) for other in others for network in _ranges(other)]
        require_disjoint((plan.pods, plan.services), [*taken, ("this cluster's load balancers", plan.load_balancers)])
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


def _ranges(plan: ClusterPlan) -> tuple[IPv4Network, ...]:
    return (plan.pods, plan.services, plan.load_balancers)


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
