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


def test_how_fields_merge_is_told() -> None:
    """By key, by value, or with the fields that stay; of another field that is called alike nothing is told."""

    def told(group: str, kind: str, *path: str) -> tuple[str | None, str | None]:
        schema = builtin_schema(group, "v1", kind)
        for part in path:
            schema = schema["items"] if part == "[]" else schema["properties"][part]
        return schema.get("x-kubernetes-patch-merge-key"), schema.get("x-kubernetes-patch-strategy")

    pod = ("spec", "template", "spec")
    assert told("", "Service", "spec", "ports") == ("port", "merge")
    assert told("apps", "Deployment", *pod, "containers", "[]", "ports") == ("containerPort", "merge")
    assert told("apps", "Deployment", *pod, "volumes") == ("name", "merge,retainKeys")
    assert told("apps", "Deployment", "spec", "strategy") == (None, "retainKeys")
    assert told("apps", "Deployment", "metadata", "finalizers") == (None, "merge")
    assert told("discovery.k8s.io", "EndpointSlice", "ports") == (None, None)
    assert told("coordination.k8s.io", "Lease", "spec", "strategy") == (None, None)
