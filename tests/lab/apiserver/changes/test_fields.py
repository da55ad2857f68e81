"""Field sets and server-side apply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.apiserver.changes.apply import Application, applied_new, apply
from isthmus.lab.apiserver.changes.fields import Topology, from_fields_v1, leaves, path_text, to_fields_v1
from isthmus.lab.apiserver.changes.managed import Manager, track
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.kinds import Registry, Resource

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-02T00:00:00Z"


def resource_of(kind: str) -> Resource:
    registry = Registry()
    found = registry.of_kind("", "v1", kind) or registry.of_kind("apps", "v1", kind)
    assert found is not None
    return found


POD = resource_of("Pod")
DEPLOYMENT = resource_of("Deployment")
ELEMENTS = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=2).map(lambda name: f"f:{name}")


@given(st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8))
def test_fields_v1_keeps_every_path(paths: set[tuple[str, ...]]) -> None:
    """A set of paths survives being written and read."""
    assert from_fields_v1(to_fields_v1(paths)) == paths


def test_the_leaves_of_a_pod() -> None:
    """Lists that are maps are taken apart by their keys, atomic lists are leaves, unmanaged metadata is left out."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "uid": "1", "labels": {"k": "v"}, "finalizers": ["x/y"]},
        "spec": {"containers": [{"name": "c", "command": ["a"], "ports": [{"containerPort": 80}]}]},
    }
    texts = sorted(path_text(path) for path in leaves(pod, Topology(POD)))
    container = '.spec.containers[name="c"]'
    port = f'{container}.ports[containerPort=80,protocol="TCP"]'
    expected = ['.metadata.finalizers[="x/y"]', ".metadata.labels.k", container, f"{container}.command"]
    assert texts == sorted([*expected, f"{container}.name", port, f"{port}.containerPort"])


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def by(name: str, wanted: dict[str, Any], *, force: bool = False) -> Application:
    return Application(wanted, Manager(name, "Apply", "apps/v1"), force, NOW)


def containers(*items: tuple[str, str]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": image} for name, image in items]}}


def test_appliers_of_different_fields_do_not_meet() -> None:
    """Two managers that apply different fields and different list items each keep their own."""
    live = applied_new(by("a", deployment(replicas=1, template=containers(("one", "x")))), DEPLOYMENT)
    live = apply(live, by("b", deployment(paused=True, template=containers(("two", "y")))), DEPLOYMENT)
    assert live["spec"] == {"replicas": 1, "paused": True, "template": containers(("one", "x"), ("two", "y"))}
    live = apply(live, by("a", deployment(replicas=1)), DEPLOYMENT)
    assert live["spec"] == {"replicas": 1, "paused": True, "template": containers(("two", "y"))}


def test_a_shared_value_is_owned_by_both_and_removed_by_the_last() -> None:
    """A field that two managers apply alike stays until both have given it up."""
    live = applied_new(by("a", deployment(replicas=1)), DEPLOYMENT)
    live = apply(live, by("b", deployment(replicas=1)), DEPLOYMENT)
    live = apply(live, by("a", deployment(paused=True)), DEPLOYMENT)
    assert live["spec"] == {"replicas": 1, "paused": True}
    live = apply(live, by("b", deployment(minReadySeconds=1)), DEPLOYMENT)
    assert live["spec"] == {"paused": True, "minReadySeconds": 1}


def test_a_differing_value_is_a_conflict_until_forced() -> None:
    """The conflict names manager and field; force takes the field over."""
    live = applied_new(by("a", deployment(replicas=1)), DEPLOYMENT)
    with pytest.raises(StatusError) as error:
        apply(live, by("b", deployment(replicas=2)), DEPLOYMENT)
    assert error.value.message == 'Apply failed with 1 conflict: conflict with "a" using apps/v1: .spec.replicas'
    assert error.value.status()["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    live = apply(live, by("b", deployment(replicas=2), force=True), DEPLOYMENT)
    assert live["spec"]["replicas"] == 2
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["b"]


def test_an_update_takes_over_what_it_changes_and_only_that() -> None:
    """Changed and new fields go to the updater, removed ones to nobody, the rest stays where it was."""
    old = applied_new(by("a", deployment(replicas=1, paused=True, minReadySeconds=1)), DEPLOYMENT)
    new = {**old, "metadata": dict(old["metadata"]), "spec": {"replicas": 2, "paused": True, "revisionHistoryLimit": 3}}
    track(new, old, Manager("u", "Update", "apps/v1"), resource=DEPLOYMENT, now=LATER)
    owners = {entry["manager"]: entry["fieldsV1"] for entry in new["metadata"]["managedFields"]}
    assert owners == {
        "a": {"f:spec": {"f:paused": {}}},
        "u": {"f:spec": {"f:replicas": {}, "f:revisionHistoryLimit": {}}},
    }


def test_an_update_that_changes_nothing_leaves_the_owners_alone() -> None:
    """No new entry, no new time."""
    old = applied_new(by("a", deployment(replicas=1)), DEPLOYMENT)
    new = {**old, "metadata": dict(old["metadata"])}
    track(new, old, Manager("u", "Update", "apps/v1"), resource=DEPLOYMENT, now=LATER)
    assert new == old
