"""RBAC on the stored roles and bindings, kept decoded until one changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from isthmus.lab.apiserver.errors import StatusError, forbidden
from isthmus.lab.apiserver.identity.escalation import GROUP, check_grant
from isthmus.lab.apiserver.identity.rbac import Attributes, Policies, allowed, refusal
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.objects import Key, Object, Stored, metadata
from isthmus.lab.apiserver.storage import Event
from isthmus.lab.apiserver.storage.state import State

_ROLES = {"Role": f"roles.{GROUP}", "ClusterRole": f"clusterroles.{GROUP}"}
_BINDINGS, _CLUSTER_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"
POLICIES = (*_ROLES.values(), _BINDINGS, _CLUSTER_BINDINGS)
"""What rights follow from, as it is stored."""


def _policies(listed: Callable[[str], Iterable[Stored]]) -> Policies:
    """The roles and bindings of which ``listed`` gives what is stored of each kind."""
    roles = {one.key: one.object() for resource in _ROLES.values() for one in listed(resource)}
    bindings: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in listed(_BINDINGS):
        bindings[one.key.namespace].append(one.object())
    return Policies(
        cluster_bindings=[one.object() for one in listed(_CLUSTER_BINDINGS)],
        bindings=lambda namespace: bindings.get(namespace, ()),
        role=lambda kind, namespace, name: roles.get(Key(_ROLES.get(kind, ""), namespace, name)),
    )


def _given(obj: Object) -> Object:
    """A role or binding without what only says how long it is kept."""
    return {**obj, "metadata": {name: metadata(obj).get(name) for name in ("labels", "annotations")}}


class Authorizer:
    """Answers whether a user may; observes the store to forget what it remembered when a policy changes.

    What it remembers is bounded by what is stored, whoever asks for what.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._remembered: Policies | None = None

    def observe(self, event: Event) -> None:
        if event.key.resource in POLICIES:
            self._remembered = None

    def allowed(self, user: User, attributes: Attributes) -> bool:
        return allowed(user, attributes, self.policies())

    def require(self, user: User, attributes: Attributes) -> None:
        """Raises StatusError (403) with the reason when the user may not."""
        if self.allowed(user, attributes):
            return
        why = refusal(user, attributes)
        if attributes.path:
            raise StatusError(403, "Forbidden", f"forbidden: {why}", details={})
        resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
        raise forbidden(resource, attributes.name, why)

    def check_grant(self, user: User, key: Key, new: Object, old: Object | None) -> None:
        """Raises StatusError (403, 404) when a role or a binding would give away rights that its writer lacks.

        One of which only finalizers or owners change stays possible to delete for whoever may do that.
        """
        if key.resource in POLICIES and (old is None or _given(new) != _given(old)):
            check_grant(user, key, new, self.policies())

    def policies(self) -> Policies:
        if self._remembered is None:
            self._remembered = _policies(self._state.listed)
        return self._remembered

    def policies_at(self, revision: int) -> Policies:
        """The roles and bindings as they were. Raises ExpiredError when that revision has left the window."""
        if all(self._state.changed(resource) <= revision for resource in POLICIES):
            return self.policies()
        return _policies(lambda resource: self._state.listed_at(resource, "", revision))
