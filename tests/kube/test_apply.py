"""The plan from what is there to what should be."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import ConfigMap
from tests.kube.objects import config_map

from isthmus.kube import Apply, Delete, plan
from isthmus.kube.apply import APPLIED, contains, stamped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


def served(obj: Any, **extra: str) -> ConfigMap:
    """Return the object as an API server would after it was applied, with data that others added."""
    applied: ConfigMap = stamped(obj)  # type: ignore[assignment]  # a copy of the same kind
    applied.data = {**(applied.data or {}), **extra}
    return applied


def test_applied_object_needs_nothing() -> None:
    """What was applied and is as it was is left alone, whatever others added."""
    assert plan([served(config_map("a", x="1"), theirs="2")], [config_map("a", x="1")]) == []


def test_missing_object_is_applied_with_its_digest() -> None:
    """What is not there is applied, and remembers what it was."""
    (write,) = plan([], [config_map("a", x="1")])
    assert isinstance(write, Apply)
    assert write.object.metadata.annotations[APPLIED]


def test_drift_is_repaired() -> None:
    """A value of ours that someone changed is applied again."""
    drifted = served(config_map("a", x="1"), x="2")
    assert [type(write) for write in plan([drifted], [config_map("a", x="1")])] == [Apply]


def test_field_no_longer_wanted_is_taken_back() -> None:
    """Dropping a field is a change, although what is there has everything that is wanted."""
    assert [type(write) for write in plan([served(config_map("a", x="1", y="2"))], [config_map("a", x="1")])] == [Apply]


def test_what_is_not_wanted_is_deleted_last_and_in_reverse() -> None:
    """Deletions follow all applications, in the reverse order of what is there."""
    writes = plan([config_map("a"), config_map("b")], [config_map("c")])
    assert [(type(write), write.object.metadata.name) for write in writes] == [
        (Apply, "c"),
        (Delete, "b"),
        (Delete, "a"),
    ]


def test_planning_changes_no_object() -> None:
    """The objects that are planned with are left as they were."""
    wanted = config_map("a", x="1")
    before = msgspec.json.encode(wanted)
    plan([], [wanted])
    assert msgspec.json.encode(wanted) == before


@given(JSON)
def test_everything_contains_itself(value: Any) -> None:
    """A JSON value contains itself."""
    assert contains(value, value)


@given(st.dictionaries(st.text(max_size=2), JSON, max_size=4), st.text(max_size=2))
def test_more_fields_are_allowed_fewer_are_not(value: dict[str, Any], name: str) -> None:
    """An object with a field more contains the one with a field less, and not the other way round."""
    less = {key: child for key, child in value.items() if key != name}
    more = {**less, name: 1}
    assert contains(more, less)
    assert not contains(less, more)
