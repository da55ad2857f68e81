"""The list in the status of a set, kept as JSON: sorted, and one entry that changes costs itself.

A list may have ten thousand entries of which one changes at a time; making, sorting and encoding all of them each time
would be most of what a control plane does. It has as many entries as fit into a resource, the first ones: a status that
is too large would be refused, and nothing of it told any more.
"""

from bisect import bisect
from collections.abc import Collection
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

    def __hash__(self) -> int:
        """So that it can be a key."""


K = TypeVar("K", bound=Sortable)


class Listing(Generic[K]):
    """Entries by a key, in the order of their keys; ``len`` counts all, ``listed`` those that the JSON has."""

    def __init__(self) -> None:
        self._entries: dict[K, bytes] = {}
        self._bytes = 1
        """Of a list with all entries: a bracket, and each with the comma or bracket behind it."""
        self._listed: int | None = None
        self._digest: msgspec.Raw | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, entry: ServiceMapping) -> None:
        """The entry is new, or another than it was."""
        encoded = _ENCODER.encode(entry)
        before = self._entries.get(key)
        if before != encoded:
            self._bytes += len(encoded) + 1 - (len(before) + 1 if before is not None else 0)
            self._entries[key] = encoded
            self._listed = self._digest = None

    def discard(self, key: K) -> None:
        """There is no such entry any more."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= len(before) + 1
            self._listed = self._digest = None

    def clear(self) -> None:
        """There are no entries any more."""
        self._entries.clear()
        self._bytes = 1
        self._listed = self._digest = None

    @property
    def listed(self) -> int:
        """How many entries the JSON has, the first: all, or as many as fit into MOST_BYTES."""
        if self._bytes <= MOST_BYTES:
            return len(self._entries)
        if self._listed is None:
            ends = accumulate((len(each) + 1 for each in self._sorted()), initial=1)
            self._listed = bisect(list(ends), MOST_BYTES) - 1
        return self._listed

    @property
    def json(self) -> bytes:
        """The list."""
        return b"[%s]" % b",".join(islice(self._sorted(), self.listed))

    @property
    def digest(self) -> msgspec.Raw:
        """What stands for the list where it is followed (``api.followed``)."""
        if self._digest is None:
            self._digest = digest_of(self.json)
        return self._digest

    def _sorted(self) -> Collection[bytes]:
        """The entries in the order of the keys, which they keep, so that the next time only what is new has to move."""
        self._entries = {key: self._entries[key] for key in sorted(self._entries)}
        return self._entries.values()


_ENCODER = msgspec.json.Encoder(order="sorted")
"""API servers give fields back in this order, so that what comes back has the same digest."""
