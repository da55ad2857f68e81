"""Imports that cannot be carried out at present, for what was found on trying: told to their administrator.

What an import itself tells is judged by its table (``federation.hindrances``); here is what the cluster says, and who
waits for a gateway port.
"""

from collections.abc import Callable, Mapping

from isthmus.federation.hindrances import Hindrance, not_written, without_gateway_port
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

    def begins_anew(self, name: ImportName) -> None:
        """The import is another, or tried once more: nothing is known to be in its way."""
        self._waiting.pop(name, None)
        self._tell(name, None)

    def waits_for_port(self, name: ImportName) -> None:
        """Too few gateway ports are left for it."""
        self._waiting[name] = None
        self._tell(name, without_gateway_port())

    def refused(self, name: ImportName, why: str) -> None:
        """The cluster does not take its objects."""
        self._tell(name, not_written(why))

    def written(self, name: ImportName) -> None:
        """Its objects are as they should be, though it may wait for ports for others."""
        if name not in self._waiting:
            self._tell(name, None)

    def _tell(self, name: ImportName, found: Hindrance | None) -> None:
        link = self._links.get(name[0])
        if link is not None and link.imports.hinder(name[1], found):
            self._changed(name[0])
