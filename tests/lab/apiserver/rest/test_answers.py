"""Kinds of which no objects are kept."""

from __future__ import annotations

from isthmus.lab.apiserver.kinds.builtin import RESOURCES
from isthmus.lab.apiserver.rest.openshift import ANSWERS


def test_each_kind_that_is_not_kept_has_an_answer() -> None:
    """Whatever has no objects is answered by the table, and nothing else is; only what is kept is changed."""
    assert sorted(ANSWERS) == sorted(one.group_kind for one in RESOURCES if not one.kept)
    assert {verb for one in RESOURCES if not one.kept for verb in one.verbs} == {"create", "get", "list"}
