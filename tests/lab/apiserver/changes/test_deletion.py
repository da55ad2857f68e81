"""What a delete makes of an object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from isthmus.lab.apiserver.changes.deletion import deletion
from isthmus.lab.apiserver.changes.options import DeleteOptions
from isthmus.lab.apiserver.kinds import Registry, Resource

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def config_maps() -> Resource:
    resource = Registry().at("", "v1", "configmaps")
    assert resource is not None
    return resource


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("Foreground", [], ["foregroundDeletion"]),
        ("Orphan", ["a/b"], ["a/b", "orphan"]),
        ("Orphan", ["foregroundDeletion"], ["orphan"]),
        ("Background", ["a/b", "orphan"], ["a/b"]),
        ("", ["orphan"], ["orphan"]),
    ],
)
def test_the_policy_is_left_as_a_finalizer(policy: str, before: list[str], after: list[str]) -> None:
    """A policy replaces the word for the garbage collector; without one the word that is there stays."""
    obj: dict[str, Any] = {"metadata": {"name": "a", "finalizers": before}}
    verdict = deletion(obj, config_maps(), DeleteOptions(propagation=policy), now=NOW)
    assert not verdict.removed
    assert verdict.obj["metadata"]["finalizers"] == after
    assert verdict.obj["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"


def test_background_removes_at_once() -> None:
    """An object that nothing keeps is gone."""
    obj: dict[str, Any] = {"metadata": {"name": "a", "finalizers": ["orphan"]}}
    assert deletion(obj, config_maps(), DeleteOptions(propagation="Background"), now=NOW).removed


def test_a_second_delete_may_change_the_policy() -> None:
    """Who deletes again in the background no longer waits for the dependents."""
    kept = {"finalizers": ["foregroundDeletion", "x/y"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    obj: dict[str, Any] = {"metadata": {"name": "a", "deletionGracePeriodSeconds": 0, **kept}}
    verdict = deletion(obj, config_maps(), DeleteOptions(propagation="Background"), now=NOW)
    assert (verdict.removed, verdict.unchanged) == (False, False)
    assert verdict.obj["metadata"]["finalizers"] == ["x/y"]
    assert deletion(obj, config_maps(), DeleteOptions(propagation="Background"), now=NOW).unchanged
