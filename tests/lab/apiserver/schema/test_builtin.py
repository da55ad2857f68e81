"""The schemas of the kinds that are served without a definition."""

from __future__ import annotations

import pytest

from isthmus.lab.apiserver.kinds.builtin import RESOURCES
from isthmus.lab.apiserver.schema import builtin_schema


@pytest.mark.parametrize(
    "kind", [("route.openshift.io", "v1", "Route"), ("apps", "v1", "Nothing"), ("example.org", "v1", "Thing")], ids=str
)
def test_what_has_no_model_may_be_anything(kind: tuple[str, str, str]) -> None:
    """Nothing is said of a kind that is not known."""
    assert builtin_schema(*kind) == {"x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize("kind", [one.gvk for one in RESOURCES if one.group.endswith("openshift.io")], ids=str)
def test_the_kinds_of_openshift_have_their_own(kind: tuple[str, str, str]) -> None:
    """Their fields are told here, or are those of what they show."""
    assert "metadata" in builtin_schema(*kind)["properties"]
