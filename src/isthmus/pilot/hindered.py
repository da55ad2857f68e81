"""Imports that cannot be carried out at present, for what was found on trying: told to their administrator.

What an import itself tells is judged by its table (``federation.hindrances``); here is what the cluster says, and who
waits for a gateway port.
"""

from collections.abc import Callable, Mapping

from isthmus.federation.hindrances import Hindrance, without_gateway_port
from isthmus.pilot.link import Link
from isthmus.pilot.objects import ImportName


class Hindered:
    """Keeps the tables of imports told; ``changed`` hears of which peer another import is hindered, or no longer."""

    def __init__(self, links: Mapping[str, Link], *, changed: Callable[[str], None]) -> None:
        """``links`` are the peers' links by name, live."""
        self._links = links
        self._changed = changed
        self._waiting: dict[ImportName, None] = {}

    @property
    def first_waiting(self) -> ImportName | None:
        """The import that waits longest for a gateway port."""
        return next(iter(self._waiting), None)

    def forget(self, name: ImportName) -> None:
        """It is not to be carried out, or not by us."""
        self._waiting.pop(name, None)
        self._tell(name, None)

    def waits_for_port(self, name: ImportName) -> None:
        """Too few gateway ports are left for it; whoever waits already comes first."""
        self._waiting.pop(name, None)
        self._waiting[name] = None
        self._tell(name, without_gateway_port())

    def has_ports(self, name: ImportName) -> None:
        """It waits for none any more; whether its objects are taken is yet to be seen."""
        if name in self._waiting:
            self.forget(name)

    def tried(self, name: ImportName, found: Hindrance | None) -> None:
        """What came of writing its objects: None if they are as they should be, though it may wait for more ports."""
        if name not in self._waiting:
            self._tell(name, found)

    def _tell(self, name: ImportName, found: Hindrance | None) -> None:
        link = self._links.get(name[0])
        if link is not None and link.imports.hinder(name[1], found):
            self._changed(name[0])
