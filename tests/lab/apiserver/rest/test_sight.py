"""What it costs to tell who watches projects of changes of rights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isthmus.lab.apiserver.identity.authorize import Authorizer
from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.objects import Key, Stored, encode_json
from isthmus.lab.apiserver.rest.sight import Sight
from isthmus.lab.apiserver.storage import Event, Window
from isthmus.lab.apiserver.storage.state import State

GROUP = "rbac.authorization.k8s.io"
PROJECTS = 20
ALICE = User("alice")


class Counting(Authorizer):
    """Counts its questions."""

    asked = 0

    def allowed(self, user: User, attributes: Attributes) -> bool:
        self.asked += 1
        return super().allowed(user, attributes)


def stored(key: Key, revision: int) -> Stored:
    return Stored(key, revision, encode_json({"metadata": {"name": key.name, "namespace": key.namespace}}))


def bound(namespace: str, revisions: Iterator[int]) -> Event:
    """A binding that says nothing."""
    plural = "rolebindings" if namespace else "clusterrolebindings"
    revision = next(revisions)
    return Event(stored(Key(f"{plural}.{GROUP}", namespace, f"b{revision}"), revision), None, deleted=False)


@pytest.mark.parametrize(
    ("name", "namespaces", "questions"),
    [
        pytest.param("", ["", ""], PROJECTS, id="of the cluster: all projects, once"),
        pytest.param("", ["p1", "p2", "p1"], 2, id="of namespaces: their projects"),
        pytest.param("", ["nowhere"], 0, id="of none that is there"),
        pytest.param("p1", ["", "p2"], 1, id="one that is watched, of the cluster"),
        pytest.param("p1", ["p2"], 0, id="one that is watched, of another"),
    ],
)
def test_only_what_rights_concern_is_looked_at(name: str, namespaces: list[str], questions: int) -> None:
    """Many changes of rights at once cost one look at the projects that they concern."""
    state, revisions = State(revision=0, compacted=0, window=Window()), iter(range(1, 100))
    for number in range(PROJECTS):
        key = Key("namespaces", "", f"p{number}")
        state.apply(Event(stored(key, next(revisions)), None, deleted=False))
    authorizer = Counting(state)
    sight = Sight(ALICE, state, authorizer, name)
    sight.begin(state.revision)
    events = [bound(namespace, revisions) for namespace in namespaces]
    for event in events:
        state.apply(event)
    assert list(sight.events(events)) == []
    assert authorizer.asked == questions
