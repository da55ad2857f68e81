"""What the server remembers of roles and bindings."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.identity.authorize import Authorizer
from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.identity.user import ANONYMOUS, User
from isthmus.lab.apiserver.objects import Key, Stored, encode_json
from isthmus.lab.apiserver.storage import Event, Window
from isthmus.lab.apiserver.storage.state import State

GROUP = "rbac.authorization.k8s.io"
ALICE = User("alice")


def state_with(*policies: tuple[str, str, str, dict[str, Any]]) -> State:
    """A state of roles and bindings, each given as resource, namespace, name and content; one revision each."""
    state = State(revision=0, compacted=0, window=Window())
    for revision, (resource, namespace, name, content) in enumerate(policies, start=1):
        key = Key(f"{resource}.{GROUP}", namespace, name)
        data = encode_json({"metadata": {"name": name, "namespace": namespace}, **content})
        state.apply(Event(Stored(key, revision, data), None, deleted=False))
    return state


def getting(namespace: str) -> Attributes:
    return Attributes("get", resource="pods", namespace=namespace)


RULES = {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
BOUND = {"roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "User", "name": "alice"}]}


def test_who_asks_about_what_is_not_there_fills_no_memory() -> None:
    """Questions about invented namespaces leave nothing behind."""
    authorizer = Authorizer(state_with(("roles", "shop", "reader", RULES), ("rolebindings", "shop", "readers", BOUND)))
    assert authorizer.allowed(ALICE, getting("shop"))
    tracemalloc.start()
    try:
        for number in range(100):
            assert not authorizer.allowed(ANONYMOUS, getting(f"{number}" + "x" * 60_000))
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 500_000


def test_rights_hold_as_they_were() -> None:
    """Policies of a revision are those of then, and those of now when nothing of them has changed since."""
    state = state_with(("roles", "shop", "reader", RULES), ("rolebindings", "shop", "readers", BOUND))
    authorizer = Authorizer(state)
    assert not authorizer.policies_at(1).bindings("shop")
    assert authorizer.policies_at(2).bindings("shop")
    state.apply(Event(Stored(Key("pods", "shop", "p"), 3, b"{}"), None, deleted=False))
    assert authorizer.policies_at(2) is authorizer.policies_at(3) is authorizer.policies()


def test_what_is_remembered_ends_with_a_change() -> None:
    """A binding that goes takes its rights along; a resource of a group with a like name is none."""
    state = state_with(("roles", "shop", "reader", RULES), ("rolebindings", "shop", "readers", BOUND))
    authorizer = Authorizer(state)
    before = authorizer.policies()
    authorizer.observe(Event(Stored(Key(f"things.my.{GROUP}", "", "t"), 3, b"{}"), None, deleted=False))
    assert authorizer.policies() is before
    gone = state.get(Key(f"rolebindings.{GROUP}", "shop", "readers"))
    assert gone is not None
    event = Event(Stored(gone.key, 4, gone.data), gone, deleted=True)
    state.apply(event)
    authorizer.observe(event)
    with pytest.raises(StatusError, match='cannot get resource "pods"') as refused:
        authorizer.require(ALICE, getting("shop"))
    assert refused.value.code == 403
