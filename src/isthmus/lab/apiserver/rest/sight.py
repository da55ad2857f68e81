"""Which projects a user sees: those that it may get; and how this changes while they are watched.

A role or a binding that comes or goes lets a project come or go for its user, though the Namespace stays as it is.
Source: OpenShift's documentation, "Working with projects".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from isthmus.lab.apiserver.identity.authorize import POLICIES, Authorizer, policies_at
from isthmus.lab.apiserver.identity.rbac import Attributes, allowed
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.kinds.openshift import PROJECT
from isthmus.lab.apiserver.objects import Stored
from isthmus.lab.apiserver.storage import Event
from isthmus.lab.apiserver.storage.state import State


def _getting(name: str) -> Attributes:
    return Attributes(verb="get", group=PROJECT.group, resource=PROJECT.plural, namespace=name, name=name)


@dataclass(slots=True)
class Sight:
    """What one user sees of the projects, and in a watch what it has been shown."""

    user: User
    state: State
    authorizer: Authorizer
    _shown: set[str] = field(default_factory=set)

    resources = POLICIES
    """What has to be watched beside the projects themselves."""

    def sees(self, stored: Stored) -> bool:
        """Whether the user may get a project, given as it is stored."""
        return self.authorizer.allowed(self.user, _getting(stored.key.name))

    def begin(self, revision: int) -> None:
        """Take as shown what the user saw at a revision. Raises ExpiredError when that has left the window."""
        policies = policies_at(self.state, revision)
        listed = self.state.listed_at(PROJECT.storage, "", revision)
        self._shown = {one.key.name for one in listed if allowed(self.user, _getting(one.key.name), policies)}

    def events(self, event: Event) -> Iterator[Event]:
        """What the user is to be told of a change of a project, or of anybody's rights."""
        if event.key.resource in POLICIES:
            for stored in self.state.listed(PROJECT.storage):
                yield from self._looked_at(stored)
            return
        name = event.key.name
        before, after = name in self._shown, not event.deleted and self.sees(event.stored)
        self._note(name, seen=after)
        if before or after:
            # What was shown for another reason than its creation has no state before that; it is changed all the same.
            yield Event(event.stored, (event.previous or event.stored) if before else None, deleted=not after)

    def _looked_at(self, stored: Stored) -> Iterator[Event]:
        """The event of a project that comes to be seen, or ceases to be, and has not changed itself."""
        before, after = stored.key.name in self._shown, self.sees(stored)
        self._note(stored.key.name, seen=after)
        if before != after:
            yield Event(stored, stored if before else None, deleted=before)

    def _note(self, name: str, *, seen: bool) -> None:
        if seen:
            self._shown.add(name)
        else:
            self._shown.discard(name)
