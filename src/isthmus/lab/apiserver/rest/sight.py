"""Which projects a user sees: those that it may get; and how this changes while they are watched.

A role or a binding that comes or goes lets a project come or go for its user, though the Namespace stays as it is.
Source: OpenShift's documentation, "Working with projects".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from isthmus.lab.apiserver.identity.authorize import POLICIES, Authorizer
from isthmus.lab.apiserver.identity.rbac import Attributes, allowed
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.kinds.openshift import PROJECT
from isthmus.lab.apiserver.objects import Key, Stored
from isthmus.lab.apiserver.rest.target import Target, attributes_of
from isthmus.lab.apiserver.storage import Event
from isthmus.lab.apiserver.storage.state import State


def _getting(name: str) -> Attributes:
    return attributes_of("get", Target(PROJECT, name=name))


@dataclass(slots=True)
class Sight:
    """What one user sees of the projects, or of one by its ``name``, and in a watch what it has been shown."""

    user: User
    state: State
    authorizer: Authorizer
    name: str = ""
    _shown: set[str] = field(default_factory=set)

    resources = POLICIES
    """What has to be watched beside the projects themselves."""

    def sees(self, stored: Stored) -> bool:
        """Whether the user may get a project, given as it is stored."""
        return self.authorizer.allowed(self.user, _getting(stored.key.name))

    def begin(self, revision: int) -> None:
        """Take as shown what the user saw at a revision. Raises ExpiredError when that has left the window."""
        policies = self.authorizer.policies_at(revision)
        names = (one.key.name for one in self.state.listed_at(PROJECT.storage, "", revision))
        chosen = (name for name in names if self.name in ("", name))
        self._shown = {name for name in chosen if allowed(self.user, _getting(name), policies)}

    def events(self, events: Iterable[Event]) -> Iterator[Event]:
        """What the user is to be told of changes of projects, and of anybody's rights.

        The projects that rights concern are looked at once, after all changes.
        """
        concerned: set[str] = set()
        for event in events:
            if event.key.resource in POLICIES:
                concerned.add(event.key.namespace)
            else:
                yield from self._changed(event)
        for stored in self._projects(concerned):
            yield from self._looked_at(stored)

    def _projects(self, namespaces: set[str]) -> Iterable[Stored]:
        """Those of some namespaces, all if "" is among them, which is where policies of the cluster are."""
        if "" in namespaces and not self.name:
            return self.state.listed(PROJECT.storage)
        names = {self.name} if "" in namespaces else {one for one in namespaces if self.name in ("", one)}
        found = (self.state.get(Key(PROJECT.storage, "", name)) for name in sorted(names))
        return [one for one in found if one is not None]

    def _changed(self, event: Event) -> Iterator[Event]:
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
