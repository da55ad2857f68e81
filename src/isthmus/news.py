"""What was told of whom: so that a failure that repeats is told when it begins, when it is another, and when it ends.

A state machine for logs: no clock and no log in it. Bounded, since subjects may be made up by whoever calls us.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

S = TypeVar("S", bound=Hashable)

MOST_SUBJECTS: Final = 1000
MOST_STATES: Final = 8
"""Two causes that take turns are told once each; one that comes after so many others is told again."""


class News(Generic[S]):
    """The states that each subject was told to be in; of too many subjects, the oldest is forgotten, and told again."""

    def __init__(self, *, most: int = MOST_SUBJECTS) -> None:
        self._most = most
        self._told: dict[S, list[str]] = {}

    def is_new(self, subject: S, state: str) -> bool:
        """Note that this is to be told; whether it was not since the subject was settled last."""
        told = self._told.setdefault(subject, [])
        if state in told:
            return False
        told.append(state)
        del told[:-MOST_STATES]
        if len(self._told) > self._most:
            del self._told[next(iter(self._told))]
        return True

    def settled(self, subject: S) -> bool:
        """The subject is well; whether anything else was told of it, so that this is news too."""
        return self._told.pop(subject, None) is not None
