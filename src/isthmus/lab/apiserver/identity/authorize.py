"""RBAC on the stored roles and bindings, kept decoded until one changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.lab.apiserver.identity.rbac import Attributes, Policies, allowed
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.objects import Key
from isthmus.lab.apiserver.storage import Event
from isthmus.lab.apiserver.storage.state import State

_GROUP = "rbac.authorization.k8s.io"
POLICIES = tuple(f"{plural}.{_GROUP}" for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings"))
"""What rights follow from, as it is stored."""
_KINDS = {"Role": f"roles.{_GROUP}", "ClusterRole": f"clusterroles.{_GROUP}"}


def policies_at(state: State, revision: int) -> Policies:
    """The roles and bindings as they were. Raises ExpiredError when that revision has left the window."""
    roles = {one.key: one.object() for kind in _KINDS.values() for one in state.listed_at(kind, "", revision)}
    bindings = [one.object() for one in state.listed_at(f"rolebindings.{_GROUP}", "", revision)]
    cluster_bindings = state.listed_at(f"clusterrolebindings.{_GROUP}", "", revision)
    return Policies(
        cluster_bindings=[one.object() for one in cluster_bindings],
        bindings=lambda namespace: [one for one in bindings if one["metadata"]["namespace"] == namespace],
        role=lambda kind, namespace, name: roles.get(Key(_KINDS.get(kind, ""), namespace, name)),
    )


class Authorizer:
    """Answers whether a user may; observes the store to forget what it remembered when a policy changes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listed: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
        self._roles: dict[Key, Mapping[str, Any] | None] = {}

    def observe(self, event: Event) -> None:
        if event.key.resource.endswith(_GROUP):
            self._listed.clear()
            self._roles.clear()

    def allowed(self, user: User, attributes: Attributes) -> bool:
        return allowed(user, attributes, self.policies())

    def policies(self) -> Policies:
        return Policies(
            cluster_bindings=self._list(f"clusterrolebindings.{_GROUP}", ""),
            bindings=lambda namespace: self._list(f"rolebindings.{_GROUP}", namespace),
            role=self._role,
        )

    def _list(self, resource: str, namespace: str) -> Sequence[Mapping[str, Any]]:
        place = (resource, namespace)
        if place not in self._listed:
            self._listed[place] = [stored.object() for stored in self._state.listed(resource, namespace)]
        return self._listed[place]

    def _role(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        key = Key(_KINDS.get(kind, ""), namespace, name)
        if key not in self._roles:
            stored = self._state.get(key)
            self._roles[key] = stored.object() if stored else None
        return self._roles[key]
