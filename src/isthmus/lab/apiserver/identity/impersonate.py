"""Acting as another user. Pure.

Source: Kubernetes documentation, "Authenticating: User impersonation".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.identity.user import AUTHENTICATED, User, service_account

_ACCOUNT = "system:serviceaccount:"


def impersonations(name: str, groups: Sequence[str]) -> Iterator[Attributes]:
    """What a user must be allowed to do in order to act as another with these groups."""
    if name.startswith(_ACCOUNT):
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        yield Attributes(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    else:
        yield Attributes(verb="impersonate", resource="users", name=name)
    for group in groups:
        yield Attributes(verb="impersonate", resource="groups", name=group)


def impersonated(name: str, groups: Sequence[str]) -> User:
    """The user to act as; without groups asked for, those that the name brings."""
    if name.startswith(_ACCOUNT) and not groups:
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        return service_account(namespace, account)
    return User(name, tuple(dict.fromkeys((*groups, AUTHENTICATED))))
