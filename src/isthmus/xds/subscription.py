"""One client's subscription to one type of resource.

Source: xDS protocol, "How the client specifies what resources to return" and "Incremental xDS".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from isthmus.xds.resource import WILDCARD, DeltaRequest, Resource, ResourceView


@dataclass(slots=True)
class Subscription:
    """Which names a client wants of one type, which versions it was sent, and which names wait to be looked at.

    Invariant: a name in ``sent`` is a resource that the client holds as far as we know. A NACK changes nothing here:
    the client keeps its last good version and is sent the next one only when there is a next one.
    """

    type_url: str
    most_names: int
    """Beyond these, a name of which there is nothing is answered and forgotten: it is not told of when there is."""
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    forgotten: int = 0
    """How many names were."""
    _dirty: dict[str, None] = field(default_factory=dict)
    _forced: set[str] = field(default_factory=set)

    @property
    def held(self) -> int:
        """How many names this client makes us hold, besides those that it subscribes to."""
        return max(len(self.sent), len(self._dirty))

    def start(self, request: DeltaRequest, view: ResourceView) -> None:
        """Take the first request of a type, which may tell what the client kept from an earlier stream."""
        self.sent = dict(request.initial_versions)
        self._mark(self.sent)
        self.wildcard = not request.subscribe or WILDCARD in request.subscribe
        for name in set(request.subscribe) - {WILDCARD}:
            self._ask(name, view)
        self._forced -= self.sent.keys()
        if self.wildcard:
            self._mark(view.eager(self.type_url))

    def update(self, request: DeltaRequest, view: ResourceView) -> None:
        """Take a later request: names to add and names to drop.

        A name that is subscribed to is always answered, be it known already or non-existent: the client may have
        forgotten it, or be waiting for it.
        """
        for name in request.unsubscribe:
            self._drop(name, view)
        for name in request.subscribe:
            if name == WILDCARD:
                self.wildcard = True
                self._mark(view.eager(self.type_url))
            else:
                self._ask(name, view)

    def changed(self, names: Iterable[str] | None, view: ResourceView) -> bool:
        """Note that these resources (None: any) may have changed; tell whether the client cares about any of them."""
        if names is None:
            names = self.names | self.sent.keys()
        wanted = [name for name in names if name in self.sent or self._wants(name, view)]
        self._mark(wanted)
        return bool(wanted)

    def renew(self, name: str) -> None:
        """Send this resource again, though the client has it; one that it did not ask for it will ask for itself."""
        if name in self.names:
            self._forced.add(name)
            self._mark((name,))

    def take_updates(self, view: ResourceView) -> Iterator[Resource]:
        """Resources that the client lacks or holds in another version. What is left to take are removals."""
        for name in list(self._dirty):
            resource = view.get(self.type_url, name) if self._wants(name, view) else None
            if resource is None:
                continue
            del self._dirty[name]
            if self.sent.get(name) != resource.version or name in self._forced:
                self.sent[name] = resource.version
                yield resource
            self._forced.discard(name)

    def take_removals(self) -> Iterator[str]:
        """Names that the client holds, or asked for by name, and that do not exist. Call after ``take_updates``."""
        for name in list(self._dirty):
            held = self.sent.pop(name, None) is not None
            if held or name in self._forced:
                yield name
        self._dirty.clear()
        self._forced.clear()

    def _ask(self, name: str, view: ResourceView) -> None:
        self._forced.add(name)
        self._mark((name,))
        if len(self.names) < self.most_names or view.get(self.type_url, name) is not None:
            self.names.add(name)
        elif name not in self.names:
            self.forgotten += 1

    def _wants(self, name: str, view: ResourceView) -> bool:
        return name in self.names or (self.wildcard and view.is_eager(self.type_url, name))

    def _drop(self, name: str, view: ResourceView) -> None:
        if name != WILDCARD:
            self.names.discard(name)
            if not self._wants(name, view):
                self.sent.pop(name, None)
            return
        self.wildcard = False
        for held in [held for held in self.sent if held not in self.names]:
            del self.sent[held]

    def _mark(self, names: Iterable[str]) -> None:
        self._dirty.update(dict.fromkeys(names))
