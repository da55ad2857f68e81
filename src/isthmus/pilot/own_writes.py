"""Serve: which events of the Kubernetes API are no more than the echo of what we have just written.

An echo is no work. Without telling it, thousands of objects that were just written would each be compared once more
with what they should be, and the next change would wait for that.
"""

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

from isthmus.kube import Client, Write, carry_out

K = TypeVar("K", bound=Hashable)


MOST_AWAITED = 8
"""Writes of a key whose events are yet to come; a list in the place of a watch swallows some, which never do."""


class OwnWrites(Generic[K]):
    """The last writes for each key. An event may come before the answer to its write, or after it."""

    def __init__(self) -> None:
        self._written: dict[K, tuple[str, ...]] = {}
        """The resource versions of the last writes, as far as they were not heard of."""
        self._heard: dict[K, set[str | None]] = {}
        """What was heard of while writing: by the resource version, None for what was deleted."""

    def __contains__(self, key: K) -> bool:
        """Whether something was written for the key that is not known to be gone."""
        return key in self._written

    async def carry_out(self, client: Client, key: K, writes: Collection[Write]) -> bool:
        """Write, in order; return whether anything else than these writes was heard of meanwhile. Raises KubeError."""
        if not writes:
            return False
        ours = list(self._written.get(key, ()))
        heard: set[str | None] = set()
        self._heard[key] = heard
        try:
            await carry_out(client, writes, applied=ours.append)
        finally:
            del self._heard[key]
            self._written[key] = tuple(each for each in ours if each not in heard)[-MOST_AWAITED:]
        return not heard.issubset(ours)

    def is_echo(self, key: K, version: str | None) -> bool:
        """Whether an event of an object needs no look at the key; to be asked once for each event.

        version: the object's now, None if it is gone. While a write for the key is under way, that is yet to be seen:
        :meth:`carry_out` says so at its end.
        """
        if key in self._heard:
            self._heard[key].add(version)
            return True
        written = self._written.get(key, ())
        if version not in written:
            return False
        self._written[key] = tuple(each for each in written if each != version)
        return True

    def forget(self, key: K) -> None:
        """What was written is gone."""
        self._written.pop(key, None)
