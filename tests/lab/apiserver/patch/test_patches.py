"""The patch types."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples(target: Any, patch: Any, result: Any) -> None:
    """RFC 7396, appendix A."""
    assert apply_merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "q"}], {"foo": ["bar", "q", "baz"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
        ({"baz": "q", "foo": "b"}, [{"op": "remove", "path": "/baz"}], {"foo": "b"}),
        ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
        ({"baz": "q"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}],
            {"a/b": 1},
        ),
    ],
)
def test_json_patch_examples(target: Any, operations: Any, result: Any) -> None:
    """RFC 6902, appendix A; the target itself is not changed."""
    before = copy.deepcopy(target)
    assert apply_json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({}, 400),
        ([1], 400),
        ([{"op": "jump", "path": "/a"}], 422),
        ([{"op": "remove", "path": "/zz"}], 422),
        ([{"op": "replace", "path": "/zz/a", "value": 1}], 422),
        ([{"op": "add", "path": "/l/5", "value": 1}], 422),
        ([{"op": "add", "path": "/l/01", "value": 1}], 422),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "move", "path": "/a"}], 422),
        ([{"op": "add", "path": 5}], 422),
        ([{"op": "add", "path": "a", "value": 1}], 422),
        ([{"op": "remove", "path": ""}], 422),
    ],
)
def test_json_patches_that_do_not_fit_are_refused(operations: Any, code: int) -> None:
    """Nothing is applied in part."""
    with pytest.raises(StatusError) as error:
        apply_json_patch({"a": 1, "l": [1]}, operations)
    assert error.value.code == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(
    JSON,
    st.lists(
        st.fixed_dictionaries({"op": st.sampled_from(["add", "remove", "move", "x"]), "path": st.text(max_size=4)})
    ),
)
def test_any_json_patch_applies_or_is_refused(target: Any, operations: Any) -> None:
    """No patch makes it fail in another way than with a Status."""
    try:
        apply_json_patch(target, operations)
    except StatusError as error:
        if error.code not in (400, 422):
            raise


TWO = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}


@pytest.mark.parametrize(
    ("patch", "containers"),
    [
        pytest.param(
            [{"name": "b", "image": "b:2"}],
            [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}],
            id="merges by name",
        ),
        pytest.param(
            [{"name": "c", "image": "c"}],
            [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}, {"name": "c", "image": "c"}],
            id="adds a new name",
        ),
        pytest.param([{"name": "a", "$patch": "delete"}], [{"name": "b", "image": "b:1"}], id="deletes"),
        pytest.param([{"name": "c"}, {"$patch": "replace"}], [{"name": "c"}], id="replaces the list"),
    ],
)
def test_strategic_patch_merges_lists_by_their_key(patch: Any, containers: Any) -> None:
    """Containers are one by name, and directives do what they say."""
    assert apply_strategic_patch(TWO, {"spec": {"containers": patch}})["spec"]["containers"] == containers


def test_strategic_patch_merges_ports_by_their_kind() -> None:
    """A container's ports go by containerPort, a Service's by port."""
    pod = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}}
    patch = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]}}
    ports = apply_strategic_patch(pod, patch)["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "name": "http"}]
    service = {"spec": {"ports": [{"port": 80}, {"port": 81}]}}
    patched = apply_strategic_patch(service, {"spec": {"ports": [{"port": 81, "name": "b"}]}})
    assert patched["spec"]["ports"] == [{"port": 80}, {"port": 81, "name": "b"}]


def test_strategic_patch_directives_on_maps_and_sets() -> None:
    """retainKeys, deleteFromPrimitiveList and setElementOrder change what they name."""
    volume = {"name": "v", "emptyDir": {}}
    patch = {"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}
    merged = apply_strategic_patch({"spec": {"volumes": [volume]}}, {"spec": {"volumes": [patch]}})
    assert merged["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "s"}}]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]}}
    assert apply_strategic_patch({"metadata": {"finalizers": ["x", "y"]}}, gone)["metadata"]["finalizers"] == ["y", "z"]
    order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    names = [one["name"] for one in apply_strategic_patch(TWO, order)["spec"]["containers"]]
    assert names == ["b", "a"]


def test_an_item_without_its_merge_key_is_refused() -> None:
    """A container without a name can't be merged."""
    with pytest.raises(StatusError) as error:
        apply_strategic_patch(TWO, {"spec": {"containers": [{"image": "x"}]}})
    assert error.value.code == 400
