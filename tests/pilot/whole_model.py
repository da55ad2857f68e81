"""What red's control plane has to make of its cluster and of green, the obvious way: everything anew after each step.

No code of the project decides anything here: rules are tables of documents, each beside what it means in plain words.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Name = tuple[str, str]
"""Namespace and name."""
Ports = tuple[int, ...]


@dataclass(frozen=True)
class LocalService:
    """A Service of red."""

    ports: Ports = (9080,)
    is_front: bool = False
    """Whether it bears the label ``app: front``."""


@dataclass(frozen=True)
class Offer:
    """A service of green, as red is told of it; ``ready`` is None where green says nothing of its pods."""

    ports: Ports = (9080,)
    ready: int | None = None


def _by_name(**selector: Any) -> dict[str, Any]:
    return {"type": "NameSelector", "nameSelector": selector}


EXPORTS: dict[str, tuple[dict[str, Any], Callable[[Name, LocalService], Name | None]]] = {
    "all": (_by_name(), lambda name, service: name),
    "bookinfo": (_by_name(namespace="bookinfo"), lambda name, service: name if name[0] == "bookinfo" else None),
    "stars": (
        _by_name(name="ratings", alias={"namespace": "sky", "name": "stars"}),
        lambda name, service: ("sky", "stars") if name[1] == "ratings" else None,
    ),
    "front": (
        {"type": "LabelSelector", "labelSelector": {"selector": {"matchLabels": {"app": "front"}}}},
        lambda name, service: name if service.is_front else None,
    ),
    "one": (_by_name(alias={"namespace": "one"}), lambda name, service: ("one", name[1])),
}
"""Export rules by what they share, and under which name a service is shared by them."""


@dataclass(frozen=True)
class Called:
    """What an import is called here."""

    name: Name
    suffix: str
    is_local: bool = False

    @property
    def hostname(self) -> str:
        """The name as clients use it."""
        return f"{self.name[1]}.{self.name[0]}.{self.suffix}"


DEFAULT_SUFFIX = "svc.green-mesh-imports.local"
IMPORTS: dict[str, tuple[dict[str, Any], Callable[[Name], Called | None]]] = {
    "all": (_by_name(), lambda name: Called(name, DEFAULT_SUFFIX)),
    "ratings": (_by_name(name="ratings"), lambda name: Called(name, DEFAULT_SUFFIX) if name[1] == "ratings" else None),
    "one": (_by_name(alias={"namespace": "one"}), lambda name: Called(("one", name[1]), DEFAULT_SUFFIX)),
    "elsewhere": ({**_by_name(), "domainSuffix": "mesh.example"}, lambda name: Called(name, "mesh.example")),
    "local": (
        {**_by_name(alias={"namespace": "shop"}), "importAsLocal": True},
        lambda name: Called(("shop", name[1]), "svc.cluster.local", is_local=True),
    ),
}
"""Import rules by what they use, and what an exported service is called by them."""

OFFERS = [("a", "ratings"), ("a", "reviews"), ("b", "ratings")]
SERVICES = [("bookinfo", "ratings"), ("bookinfo", "reviews")]
ALWAYS_THERE = ("shop", "reviews")
"""A Service that imports may join."""


def offered_host(name: Name) -> str:
    """The host name under which green exports to red."""
    return f"{name[1]}.{name[0]}.svc.red-mesh-exports.local"


@dataclass
class Model:
    """The state of the world as far as red can know of it, and of red's memory."""

    services: dict[Name, LocalService] = field(default_factory=lambda: {ALWAYS_THERE: LocalService()})
    exports: str | None = None
    imports: str | None = None
    has_peer: bool = False
    has_root: bool = False
    offered: dict[Name, Offer] = field(default_factory=dict)
    is_linked: bool = False
    is_running: bool = False
    egress: str = ""
    known: dict[Name, Offer] = field(default_factory=dict)
    """What red remembers of green's offers."""
    imported: dict[Name, tuple[Offer, Called]] = field(default_factory=dict)
    """What red has made objects of."""

    @property
    def is_served(self) -> bool:
        """Whether red deals with green at all."""
        return self.has_peer and self.has_root

    def start(self) -> None:
        """A new process knows what its predecessor has made objects of."""
        self.is_running = True
        self.known = {name: offer for name, (offer, _) in self.imported.items()}

    def settle(self) -> None:
        """Red looks at everything."""
        if not self.is_running:
            return
        if not self.has_peer:
            self.known, self.imported = {}, {}
        elif self.has_root:
            if self.is_linked:
                self.known = dict(self.offered)
            call = IMPORTS[self.imports][1] if self.imports else lambda name: None
            found = {name: (offer, call(name)) for name, offer in self.known.items()}
            self.imported = {name: (offer, called) for name, (offer, called) in found.items() if called is not None}

    def exported(self) -> dict[str, Name]:
        """What green is told: the exported host name, and which Service it leads to."""
        if not (self.is_served and self.exports):
            return {}
        share = EXPORTS[self.exports][1]
        found: dict[str, Name] = {}
        for name in sorted(self.services):
            shared = share(name, self.services[name])
            if shared is not None:
                found.setdefault(f"{shared[1]}.{shared[0]}.svc.green-mesh-exports.local", name)
        return found

    def expected(self) -> dict[str, Any]:
        """Everything that can be seen of it from outside."""
        exported = self.exported()
        seen: dict[str, Any] = {"services": self._services(), "names": self._names()}
        seen["told"] = {host: self.services[name].ports for host, name in exported.items()}
        seen["is served"] = self.is_served
        seen["ingress"] = {
            server_name: f"{name[0]}/{name[1]}/{port}"
            for host, name in exported.items()
            for port in reversed(self.services[name].ports)
            for server_name in (host, f"outbound_.{port}_._.{host}")
        }
        seen["slices"] = {offered_host(name) for name in self.imported}
        if self.is_served:
            seen["slices"] = {
                offered_host(name): (self.egress, offer.ready != 0) for name, (offer, _) in self.imported.items()
            }
            seen["exportedServices"] = sorted(exported)
            listed = {name: self.imported[name][1].hostname if name in self.imported else "" for name in self.known}
            seen["importedServices"] = {offered_host(name): called for name, called in listed.items() if self.imports}
        seen["egress"] = {
            f"outbound_.{port}_._.{offered_host(name)}"
            for name, (offer, _) in self.imported.items()
            for port in offer.ports
            if self.is_served
        }
        return seen

    def _services(self) -> set[tuple[str, str]]:
        """The Services of imports: where they are and what they are called; none for an import that joins one."""
        return {
            (called.name[0] if called.is_local else "red-mesh-system", called.hostname)
            for _, called in self.imported.values()
            if called.name not in self.services or not called.is_local
        }

    def _names(self) -> dict[str, str]:
        """What DNS answers for: the name here, and the import whose address it tells."""
        found: dict[str, str] = {}
        for name in sorted(self.imported, key=offered_host):
            called = self.imported[name][1]
            if not called.is_local:
                found.setdefault(called.hostname, offered_host(name))
        return found


ALL_NAMES = sorted({call(name).hostname for _, call in IMPORTS.values() for name in OFFERS if call(name) is not None})  # type: ignore[union-attr]
ALL_SERVER_NAMES = sorted(
    server_name
    for _, share in EXPORTS.values()
    for name in [*SERVICES, ALWAYS_THERE]
    if (shared := share(name, LocalService(is_front=True))) is not None
    for host in [f"{shared[1]}.{shared[0]}.svc.green-mesh-exports.local"]
    for server_name in (host, f"outbound_.9080_._.{host}", f"outbound_.9081_._.{host}")
)
