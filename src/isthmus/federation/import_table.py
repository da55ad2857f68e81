"""All that one mesh imports from one peer: what the peer exports, seen through the import rules.

Knows names only. Which gateway port stands for an import is ``ports``'; how workloads reach it is the pilot's.
"""

from collections.abc import Iterable, KeysView
from dataclasses import dataclass

from isthmus.api.selectors import LocalService, ServiceMapping
from isthmus.federation.hindrances import Hindrance, excerpt, hindrance, tcp_ports
from isthmus.federation.imports import ImportedName, ImportRules
from isthmus.federation.listing import Listing
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.selection import Problem
from isthmus.identity import TrustDomain


@dataclass(frozen=True, slots=True)
class Import:
    """One service of a peer that is used here: what it is there, and what it is called here."""

    peer: str
    service: ServiceMessage
    called: ImportedName

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports it has, sorted; of a port named twice, one."""
        return tcp_ports(self.service)


class ImportTable:
    """Imports from ``peer``. Every method that changes something returns the exported host names whose import is
    another now, new or gone."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.rules = ImportRules()
        self._trust_domain: TrustDomain | None = None
        self.imports: dict[str, Import] = {}
        """What is imported, by exported host name."""
        self.renames = 0
        """How often an import has got, changed or lost its name here: while this stays, :attr:`names` and who has them
        do."""
        self._offered: dict[str, ServiceMessage] = {}
        self._holders: dict[str, tuple[str, ...]] = {}
        self._clashing: set[str] = set()
        self._found_outside: dict[str, Hindrance] = {}
        self._hindered: dict[str, Problem] = {}
        self.listing: Listing[str] = Listing()
        """:meth:`status` as JSON, kept up to date entry by entry."""

    def configure(self, rules: ImportRules, *, trust_domain: TrustDomain | None = None) -> frozenset[str]:
        """Import by these rules; ``trust_domain``, if it is known, is that of those who may answer."""
        self.rules = rules
        self._trust_domain = trust_domain
        return frozenset(hostname for hostname in self._offered if self._settle(hostname))

    def offer(self, hostname: str, service: ServiceMessage | None) -> bool:
        """The peer exports this, or (None) no longer; whether the import of that name is another now."""
        if service is None:
            self._offered.pop(hostname, None)
        else:
            self._offered[hostname] = service
        return self._settle(hostname)

    def clear(self) -> frozenset[str]:
        """Forget the peer altogether."""
        gone = frozenset(self.imports)
        for each in (self.imports, self._offered, self._holders, self._clashing):
            each.clear()
        self._found_outside.clear()
        self._hindered.clear()
        self.listing.clear()
        return gone

    def status(self) -> tuple[ServiceMapping, ...]:
        """``status.importedServices``, sorted; what no rule imports is on offer, with an empty local service."""
        return tuple(self._mapping(hostname) for hostname in sorted(self._offered))

    def clashes(self) -> Iterable[tuple[str, str]]:
        """Imports that share a local name with another one: (exported host name, the one that has the name)."""
        clashes = ((name, sorted(self._holders[name])) for name in self._clashing)
        yield from sorted((hostname, first) for _, (first, *others) in clashes for hostname in others)

    @property
    def names(self) -> KeysView[str]:
        """What imports are called here."""
        return self._holders.keys()

    def holder(self, called: str) -> str | None:
        """The import, by exported host name, that has this name here as far as this peer goes; None if none has."""
        return min(self._holders[called]) if called in self._holders else None

    def lost_to(self, other: "ImportTable") -> Iterable[tuple[str, str]]:
        """Imports whose name here is that of an import from another peer, sorted: (exported host name, that one's).

        The first by exported host name, then by peer, has the name. Imports that join a local Service share it.
        """
        for called in sorted(self.names & other.names):
            ours, theirs = self.holder(called), other.holder(called)
            if ours is None or theirs is None or self.imports[ours].called.is_local:
                continue
            if (theirs, other.peer) < (ours, self.peer):
                yield ours, theirs

    def hinder(self, hostname: str, found: Hindrance | None) -> bool:
        """What keeps an import from being carried out, as whoever does that has found, or (None) no longer; whether
        that is news. What the import itself tells comes first."""
        if self._found_outside.get(hostname) == found:
            return False
        self._found_outside.pop(hostname, None)
        if found is not None:
            self._found_outside[hostname] = found
        self._judge(hostname, self.imports.get(hostname))
        return True

    def hindered(self) -> Iterable[Problem]:
        """What keeps imports from being called, one by one as their exported host names are sorted."""
        return (self._hindered[hostname] for hostname in sorted(self._hindered))

    def _settle(self, hostname: str) -> bool:
        service = self._offered.get(hostname)
        called = self.rules.imported_name(service) if service is not None else None
        after = Import(self.peer, service, called) if service is not None and called is not None else None
        before = self.imports.get(hostname)
        if before != after:
            self._replace(hostname, before, after)
        self._judge(hostname, after)
        if service is None:
            self.listing.discard(hostname)
        else:
            self.listing.put(hostname, self._mapping(hostname))
        return before != after

    def _judge(self, hostname: str, imported: Import | None) -> None:
        """Keep what hinders the import: whoever tells of it does so often, and there may be thousands."""
        self._hindered.pop(hostname, None)
        if imported is None:
            return
        found = hindrance(imported.service, imported.called, self._trust_domain) or self._found_outside.get(hostname)
        if found is not None:
            index = self.rules.deciding(imported.service) or 0
            message = f"importRules[{index}] imports {excerpt(hostname)}, {found.message}"
            self._hindered[hostname] = Problem(index, found.reason, message)

    def _replace(self, hostname: str, before: Import | None, after: Import | None) -> None:
        if before is not None:
            del self.imports[hostname]
        if after is not None:
            self.imports[hostname] = after
        self._rename(hostname, before.called if before else None, after.called if after else None)

    def _rename(self, hostname: str, before: ImportedName | None, after: ImportedName | None) -> None:
        if before == after:
            return
        self.renames += 1
        if before is not None:
            self._leave(hostname, before)
        if after is not None:
            self._enter(hostname, after)

    def _enter(self, hostname: str, called: ImportedName) -> None:
        holders = self._holders[called.hostname] = (*self._holders.get(called.hostname, ()), hostname)
        if len(holders) > 1:
            self._clashing.add(called.hostname)

    def _leave(self, hostname: str, called: ImportedName) -> None:
        holders = tuple(each for each in self._holders.pop(called.hostname) if each != hostname)
        if len(holders) < 2:
            self._clashing.discard(called.hostname)
        if holders:
            self._holders[called.hostname] = holders

    def _mapping(self, hostname: str) -> ServiceMapping:
        imported = self.imports.get(hostname)
        if imported is None:
            return ServiceMapping(exported_name=hostname, local_service=LocalService())
        name = imported.called.name
        local = LocalService(name=name.name, namespace=name.namespace, hostname=imported.called.hostname)
        return ServiceMapping(exported_name=hostname, local_service=local)
