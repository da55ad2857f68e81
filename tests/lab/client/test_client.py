"""Reconcile loops and small functions; informers are tested where there is a server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement

from isthmus.lab.client import ReconcileLoop, labels_match
from isthmus.lab.client.status import merge_patch

LABELS = {"app": "web", "tier": "front"}


def requirement(operator: str, *values: str, key: str = "tier") -> LabelSelector:
    return LabelSelector(
        matchExpressions=[LabelSelectorRequirement(key=key, operator=operator, values=list(values) or None)]
    )


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (LabelSelector(), True),
        (LabelSelector(matchLabels={"app": "web"}), True),
        (LabelSelector(matchLabels={"app": "db"}), False),
        (requirement("In", "front", "back"), True),
        (requirement("In", "back"), False),
        (requirement("NotIn", "back"), True),
        (requirement("NotIn", "front"), False),
        (requirement("NotIn", "x", key="none"), True),
        (requirement("Exists"), True),
        (requirement("Exists", key="none"), False),
        (requirement("DoesNotExist", key="none"), True),
        (requirement("Nonsense"), False),
    ],
)
def test_selectors(selector: LabelSelector, *, expected: bool) -> None:
    """All requirements of a selector must be met."""
    assert labels_match(selector, LABELS) is expected


JSON = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


def apply(target: object, patch: object) -> object:
    """RFC 7396 §2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_merge_patch(before: dict[str, object], after: dict[str, object]) -> None:
    """The patch between two objects, applied to the first, gives the second."""
    assert apply(before, merge_patch(before, after)) == after


async def test_a_key_is_worked_on_by_one_and_again_if_it_changed() -> None:
    """A key that is added while it is being worked on is worked on once more, and never twice at once."""
    at_once, most, rounds = 0, 0, 0
    entered, proceed, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reconcile(key: str) -> None:
        nonlocal at_once, most, rounds
        assert key == "a"
        at_once += 1
        most = max(most, at_once)
        rounds += 1
        entered.set()
        await proceed.wait()
        at_once -= 1
        if rounds == 2:
            done.set()

    loop = ReconcileLoop[str]("test", reconcile)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.run())
        loop.add("a")
        await entered.wait()
        for _ in range(5):
            loop.add("a")
        proceed.set()
        await done.wait()
        task.cancel()
    assert (most, rounds) == (1, 2)


async def test_a_failure_is_tried_again() -> None:
    """An exception means: again, later; others are not held up."""
    tries: list[str] = []
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        tries.append(key)
        if key == "bad" and tries.count("bad") < 3:
            raise OSError("not yet")
        if tries.count("bad") == 3:
            done.set()

    loop = ReconcileLoop[str]("test", reconcile, workers=1)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.run())
        loop.add("bad")
        loop.add("good")
        await done.wait()
        task.cancel()
    assert tries[:2] == ["bad", "good"]
    assert tries.count("bad") == 3
