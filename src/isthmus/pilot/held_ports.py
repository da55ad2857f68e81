"""Serve: which gateway ports each import holds, whether given out here or by the replica that leads. No I/O."""

from collections.abc import Iterable, Iterator, Mapping

from isthmus.federation.import_table import Import
from isthmus.federation.ports import ImportKey, PortBook, PortsExhaustedError
from isthmus.federation.workload import Workload, workload
from isthmus.pilot.objects import ImportName


class HeldPorts:
    """The ports of all imports of a mesh. Invariant: a key that holds a port is known by its import."""

    def __init__(self, namespace: str) -> None:
        """No import holds any. ``namespace`` is the control plane's, where its own Services stand."""
        self._namespace = namespace
        self._book = PortBook()
        self._held: dict[ImportName, tuple[ImportKey, ...]] = {}

    def restore(self, kept: Mapping[ImportKey, int]) -> None:
        """Start from what is stored in the cluster."""
        self._book = PortBook(kept)
        for key in self._book.held():
            self._hold((key.peer, key.hostname), {key})

    def are_held_by(self, imported: Import) -> bool:
        """Whether an import has a gateway port for each of its ports."""
        held = self._book.held()
        return all(ImportKey(imported.peer, imported.service.hostname, port) in held for port in imported.ports)

    def adopt(self, ports: Mapping[ImportKey, int]) -> list[ImportName]:
        """Take over ports that another replica has given out; the imports that moved, who has to leave a port first."""
        moved: dict[ImportName, None] = {}
        for key, port in ports.items():
            if self._book.held().get(key) != port:
                displaced = self._book.adopt(key, port)
                if displaced is not None:
                    moved[displaced.peer, displaced.hostname] = None
                moved[key.peer, key.hostname] = None
                self._hold((key.peer, key.hostname), {key})
        return list(moved)

    def workload(self, name: ImportName, imported: Import) -> Workload:
        """Its objects, with a gateway port for each port.

        Raises:
            PortsExhaustedError: there are not enough; it holds no more than before.
        """
        wanted = {ImportKey(imported.peer, imported.service.hostname, port) for port in imported.ports}
        try:
            made = workload(imported, namespace=self._namespace, book=self._book)
        except PortsExhaustedError:
            for key in wanted.difference(self._held.get(name, ())):
                self._book.give_back(key)
            raise
        self._hold(name, wanted)
        return made

    def release(self, name: ImportName, made: Workload | None) -> Iterator[ImportKey]:
        """Give back the ports that an import holds and, as it is made now, does not need; one by one, as it is read."""
        kept = {ImportKey(*name, port.port) for port in made.ports} if made is not None else set()
        for key in sorted(set(self._held.get(name, ())) - kept):
            self._book.give_back(key)
            yield key
        if kept:
            self._held[name] = tuple(kept)
        else:
            self._held.pop(name, None)

    def _hold(self, name: ImportName, keys: Iterable[ImportKey]) -> None:
        self._held[name] = tuple({*self._held.get(name, ()), *keys})
