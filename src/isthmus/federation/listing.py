"""The list in the status of a set, kept as JSON: sorted, and one entry that changes costs itself.

A list may have ten thousand entries of which one changes at a time; making, sorting and encoding all of them each time
would be most of what a control plane does. It has as many entries as fit into a resource, the first ones: a status that
is too large would be refused, and nothing of it told any more.
"""

from bisect import bisect, bisect_left
from itertools import accumulate, islice
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from isthmus.api.followed import digest_of
from isthmus.api.selectors import ServiceMapping

MOST_BYTES: Final = 1024 * 1024
"""Of a list in JSON. By default etcd takes 1.5 MiB for an object, in which the rules and whatever else stands in the
resource need room too."""


class Sortable(Protocol):
    """What entries are sorted by."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether it comes first."""


K = TypeVar("K", bound=Sortable)


class Listing(Generic[K]):
    """Entries by a key, in the order of their keys; ``len`` counts all, ``listed`` those that the JSON has."""

    def __init__(self) -> None:
        self._keys: list[K] = []
        self._entries: list[bytes] = []
        """In JSON, in the order of their keys."""
        self._bytes = 1
        """Of a list with all entries: a bracket, and each with the comma or bracket behind it."""
        self._listed: int | None = None
        self._digest: msgspec.Raw | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, entry: ServiceMapping) -> None:
        """The entry is new, or another than it was."""
        encoded = _ENCODER.encode(entry)
        at = bisect_left(self._keys, key)
        if self._is_at(at, key):
            if self._entries[at] == encoded:
                return
            self._bytes -= len(self._entries[at]) + 1
            self._entries[at] = encoded
        else:
            self._keys.insert(at, key)
            self._entries.insert(at, encoded)
        self._bytes += len(encoded) + 1
        self._listed = self._digest = None

    def discard(self, key: K) -> None:
        """There is no such entry any more."""
        at = bisect_left(self._keys, key)
        if self._is_at(at, key):
            del self._keys[at]
            self._bytes -= len(self._entries.pop(at)) + 1
            self._listed = self._digest = None

    def clear(self) -> None:
        """There are no entries any more."""
        self._keys.clear()
        self._entries.clear()
        self._bytes = 1
        self._listed = self._digest = None

    def _is_at(self, at: int, key: K) -> bool:
        return at < len(self._keys) and self._keys[at] == key

    @property
    def listed(self) -> int:
        """How many entries the JSON has, the first: all, or as many as fit into MOST_BYTES."""
        if self._bytes <= MOST_BYTES:
            return len(self._entries)
        if self._listed is None:
            ends = accumulate((len(each) + 1 for each in self._entries), initial=1)
            self._listed = bisect(list(ends), MOST_BYTES) - 1
        return self._listed

    @property
    def json(self) -> bytes:
        """The list."""
        return b"[%s]" % b",".join(islice(self._entries, self.listed))

    @property
    def digest(self) -> msgspec.Raw:
        """What stands for the list where it is followed (``api.followed``)."""
        if self._digest is None:
            self._digest = digest_of(self.json)
        return self._digest


_ENCODER = msgspec.json.Encoder(order="sorted")
"""API servers give fields back in this order, so that what comes back has the same digest."""
