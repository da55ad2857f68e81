"""The resources that a group of clients sees, and the news of their changes.

A table holds eager resources as they are and makes others on demand, by a function of the name: what nobody asks for
costs nothing. It belongs to one event loop.
"""

from collections.abc import Callable, Iterable, Mapping

from isthmus.xds.resource import Resource

Listener = Callable[[str, tuple[str, ...] | None], object]
"""Is called with a type URL and the names that may have changed, None for any."""

OnDemand = Callable[[str], Resource | None]
"""Makes the resource of that name, or None where there is none."""


class ResourceTable:
    """A ``ResourceView`` that can be changed and listened to.

    ``on_demand`` maps a type URL to the function that makes its resources that are not eager.
    """

    def __init__(self, on_demand: Mapping[str, OnDemand] | None = None) -> None:
        self._eager: dict[str, dict[str, Resource]] = {}
        self._on_demand = dict(on_demand or {})
        self._listeners: dict[object, Listener] = {}

    def eager(self, type_url: str) -> Iterable[str]:
        return self._eager.get(type_url, {}).keys()

    def is_eager(self, type_url: str, name: str) -> bool:
        return name in self._eager.get(type_url, {})

    def get(self, type_url: str, name: str) -> Resource | None:
        resource = self._eager.get(type_url, {}).get(name)
        make = self._on_demand.get(type_url)
        return make(name) if resource is None and make is not None else resource

    def replace(self, type_url: str, resources: Iterable[Resource]) -> None:
        """Make these the eager resources of the type; listeners hear of what differs, if anything does."""
        before = self._eager.get(type_url, {})
        after = {resource.name: resource for resource in resources}
        self._eager[type_url] = after
        self._tell(type_url, tuple(n for n in sorted(before.keys() | after.keys()) if before.get(n) != after.get(n)))

    def put(self, type_url: str, resource: Resource) -> None:
        """Set one eager resource."""
        table = self._eager.setdefault(type_url, {})
        if table.get(resource.name) != resource:
            table[resource.name] = resource
            self._tell(type_url, (resource.name,))

    def remove(self, type_url: str, name: str) -> None:
        """Remove one eager resource; removing what is not there is no news."""
        if self._eager.get(type_url, {}).pop(name, None) is not None:
            self._tell(type_url, (name,))

    def invalidate(self, type_url: str, names: Iterable[str]) -> None:
        """Say that resources which are made on demand may have changed."""
        self._tell(type_url, tuple(names))

    def refresh(self, type_url: str) -> None:
        """Say that any resource which is made on demand may have changed: what makes them is another now."""
        for listener in list(self._listeners.values()):
            listener(type_url, None)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on each change from now on; returns the function that ends it."""
        key = object()
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None) and None

    @property
    def is_listened_to(self) -> bool:
        """Whether any listener is left."""
        return bool(self._listeners)

    def _tell(self, type_url: str, names: tuple[str, ...]) -> None:
        if names:
            for listener in list(self._listeners.values()):
                listener(type_url, names)
