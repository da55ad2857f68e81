"""What one mesh exports to one peer: hostname → service, with the checksum kept up to date as it changes.

Both sides keep one: the exporter to say what changed, the importer to check what it is told. A change costs one
``service_hash``, however many services are shared. Not here: when to ask a peer for its list (``peer_view``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from isthmus.federation.checksum import list_checksum, service_hash
from isthmus.federation.messages import ServiceList, ServiceMessage, WatchEvent


@dataclass(frozen=True, slots=True)
class _Entry:
    service: ServiceMessage
    hashed: int


class Catalogue:
    """Services by hostname; mutable, with a single owner.

    Invariant: ``checksum`` is the one that ``as_list()`` carries, at every moment.
    """

    __slots__ = ("_entries", "_xor")

    def __init__(self, services: Iterable[ServiceMessage] = ()) -> None:
        self._entries: dict[str, _Entry] = {}
        self._xor = 0
        for service in services:
            self.put(service)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, hostname: str) -> bool:
        return hostname in self._entries

    def __iter__(self) -> Iterator[ServiceMessage]:
        return (entry.service for entry in self._entries.values())

    def get(self, hostname: str) -> ServiceMessage | None:
        entry = self._entries.get(hostname)
        return entry.service if entry else None

    @property
    def checksum(self) -> int:
        return list_checksum(self._xor)

    def as_list(self) -> ServiceList:
        """All of it as the message for a peer, sorted by hostname."""
        services = tuple(entry.service for _, entry in sorted(self._entries.items()))
        return ServiceList(checksum=self.checksum, services=services)

    def put(self, service: ServiceMessage) -> WatchEvent | None:
        """Add or replace a service; the event to tell, or None if it was there exactly so."""
        before = self._entries.get(service.hostname)
        if before is not None and before.service == service:
            return None
        entry = _Entry(service, service_hash(service))
        self._entries[service.hostname] = entry
        self._xor ^= entry.hashed ^ (before.hashed if before else 0)
        return self._event("update" if before else "add", service)

    def remove(self, hostname: str) -> WatchEvent | None:
        """Take a service out; the event to tell, or None if there was none of that name."""
        before = self._entries.pop(hostname, None)
        if before is None:
            return None
        self._xor ^= before.hashed
        return self._event("delete", before.service)

    def replace(self, services: Iterable[ServiceMessage]) -> list[WatchEvent]:
        """Hold exactly ``services`` (of one hostname, the last); the events that lead there, removals first."""
        wanted = {service.hostname: service for service in services}
        gone = sorted(self._entries.keys() - wanted.keys())
        removals = [self.remove(hostname) for hostname in gone]
        arrivals = [self.put(wanted[hostname]) for hostname in sorted(wanted)]
        return [event for event in (*removals, *arrivals) if event]

    def _event(self, action: Literal["add", "update", "delete"], service: ServiceMessage) -> WatchEvent:
        return WatchEvent(action=action, service=service, checksum=self.checksum)


class Draft:
    """Changes on top of a catalogue that are not yet vouched for by a checksum.

    The catalogue stays as it is until :meth:`commit`. The draft is void once the catalogue is changed by others.
    """

    __slots__ = ("_base", "_changes", "_xor")

    def __init__(self, base: Catalogue) -> None:
        self._base = base
        self._changes: dict[str, ServiceMessage | None] = {}
        self._xor = base._xor  # noqa: SLF001 - the two classes share the running XOR and nothing else does

    def __len__(self) -> int:
        """How many hostnames the draft touches."""
        return len(self._changes)

    @property
    def checksum(self) -> int:
        """The checksum that the catalogue would have after :meth:`commit`."""
        return list_checksum(self._xor)

    def apply(self, event: WatchEvent) -> None:
        """Note what the event says: an add of what is there replaces it, a delete of what is not changes nothing."""
        hostname = event.service.hostname
        before = self._changes[hostname] if hostname in self._changes else self._base.get(hostname)
        after = None if event.action == "delete" else event.service
        self._xor ^= _hash(before) ^ _hash(after)
        self._changes[hostname] = after

    def commit(self) -> frozenset[str]:
        """Bring the changes into the catalogue and start over; the hostnames whose service is another now."""
        changes, self._changes = self._changes, {}
        return frozenset(hostname for hostname, service in changes.items() if self._settle(hostname, service))

    def _settle(self, hostname: str, service: ServiceMessage | None) -> bool:
        event = self._base.put(service) if service else self._base.remove(hostname)
        return event is not None


def _hash(service: ServiceMessage | None) -> int:
    return service_hash(service) if service else 0
