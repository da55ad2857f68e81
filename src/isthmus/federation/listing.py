"""The list in the status of a set, kept as JSON: sorted, and one entry that changes costs itself.

A list may have ten thousand entries of which one changes at a time; making, sorting and encoding all of them each time
would be most of what a control plane does.
"""

from typing import Any, Generic, Protocol, TypeVar

import msgspec

from isthmus.api.followed import digest_of
from isthmus.api.selectors import ServiceMapping


class Sortable(Protocol):
    """What entries are sorted by."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether it comes first."""

    def __hash__(self) -> int:
        """So that it can be a key."""


K = TypeVar("K", bound=Sortable)


class Listing(Generic[K]):
    """Entries by a key, in the order of their keys."""

    def __init__(self) -> None:
        self._entries: dict[K, bytes] = {}
        self._digest: msgspec.Raw | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, entry: ServiceMapping) -> None:
        """The entry is new, or another than it was."""
        encoded = _ENCODER.encode(entry)
        if self._entries.get(key) != encoded:
            self._entries[key] = encoded
            self._digest = None

    def discard(self, key: K) -> None:
        """There is no such entry any more."""
        if self._entries.pop(key, None) is not None:
            self._digest = None

    def clear(self) -> None:
        """There are no entries any more."""
        self._entries.clear()
        self._digest = None

    @property
    def json(self) -> bytes:
        """The list."""
        # In the order of the keys from now on, so that the next time only what is new has to find its place.
        self._entries = {key: self._entries[key] for key in sorted(self._entries)}
        return b"[%s]" % b",".join(self._entries.values())

    @property
    def digest(self) -> msgspec.Raw:
        """What stands for the list where it is followed (``api.followed``)."""
        if self._digest is None:
            self._digest = digest_of(self.json)
        return self._digest


_ENCODER = msgspec.json.Encoder(order="sorted")
"""API servers give fields back in this order, so that what comes back has the same digest."""
