"""How often circles of objects are looked for."""

import gc
from collections.abc import Iterator

import pytest

from isthmus.collector import NEW_OBJECTS, collect_rarely, set_aside


@pytest.fixture
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("_as_before")
def test_objects_are_made_without_a_look_at_the_others() -> None:
    """Fewer new objects than the threshold, and there was no collection; what is set aside is in no generation."""
    collect_rarely()
    gc.collect()
    before = [each["collections"] for each in gc.get_stats()]
    made = [[] for _ in range(NEW_OBJECTS // 2)]  # type: ignore[var-annotated]  # of nothing
    assert [each["collections"] for each in gc.get_stats()] == before
    set_aside()
    assert gc.get_freeze_count() >= len(made)
