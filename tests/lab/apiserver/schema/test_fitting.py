"""The quick yes about a value and its schema, beside the slow ways."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isthmus.api.crds import crds
from isthmus.lab.apiserver.changes.checks import drop_all_nulls
from isthmus.lab.apiserver.schema import builtin_schema, set_defaults, unknown_fields, validate
from isthmus.lab.apiserver.schema.fitting import fits, object_fits
from isthmus.lab.apiserver.schema.prune import drop_nulls

EXAMPLES = Path(__file__).parents[4] / "examples"
NAMES = st.sampled_from(["a", "b", "metadata"])
PLAIN = st.one_of(
    st.builds(dict, type=st.sampled_from(["string", "integer", "number", "boolean"])),
    st.just({"type": "string", "enum": ["x", "y"]}),
    st.just({"type": "string", "default": "x"}),
    st.just({"type": "string", "nullable": True}),
    st.just({"type": "integer", "minimum": 1}),
    st.just({"type": "string", "format": "date-time"}),
    st.just({"x-kubernetes-int-or-string": True}),
    st.just({"x-kubernetes-preserve-unknown-fields": True}),
    st.just({"type": "string", "not": {"enum": ["x"]}}),
)


def _above(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, below, max_size=2)},
        optional={
            "required": st.lists(NAMES, max_size=1),
            "additionalProperties": below,
            "nullable": st.booleans(),
            "x-kubernetes-preserve-unknown-fields": st.just(True),
        },
    )
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": below},
        optional={
            "maxItems": st.just(1),
            "minItems": st.just(1),
            "nullable": st.booleans(),
            "x-kubernetes-list-type": st.sampled_from(["atomic", "set"]),
        },
    )
    maps = st.builds(
        lambda items: {
            "type": "array",
            "items": items,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a"],
        },
        objects,
    )
    return st.one_of(objects, lists, maps)


SCHEMAS = st.recursive(PLAIN, _above, max_leaves=6)
VALUES = st.recursive(
    st.sampled_from(["x", "z", 0, 1, 1.0, 1.5, True, None, "2024-01-01T00:00:00Z"]),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(NAMES, below, max_size=3)),
    max_leaves=8,
)


def is_as_wanted(value: Any, schema: dict[str, Any], *, as_object: bool) -> bool:
    """What the slow ways say: they change nothing, and complain of nothing."""
    after = copy.deepcopy(value)
    unknown = unknown_fields(after, schema) if as_object else unknown_fields({"x": after}, _wrapped(schema))
    drop_nulls(after, schema)
    set_defaults(after, schema)
    return not unknown and after == value and not validate(value, schema)


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


@given(schema=SCHEMAS, value=VALUES)
def test_a_yes_is_never_wrong(schema: dict[str, Any], value: Any) -> None:
    """Whatever the schema, a value that fits is left as it is by pruning and defaults, and is valid."""
    if fits(value, schema):
        assert is_as_wanted(value, schema, as_object=False)
        without = copy.deepcopy(value)
        drop_all_nulls(without)
        assert without == value


@given(schema=SCHEMAS, value=st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "a", "b"]), VALUES))
def test_a_yes_about_an_object_is_never_wrong(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """Kind and metadata are others' affair; everything else of an object that fits is as wanted."""
    if object_fits(value, schema):
        own = {name: each for name, each in value.items() if name not in ("apiVersion", "kind", "metadata")}
        needed = [name for name in schema.get("required") or () if name != "metadata"]
        assert is_as_wanted(own, {**schema, "required": needed}, as_object=True)


def test_what_is_usual_fits() -> None:
    """The quick way is one: a Service as it is stored, with its managed fields, needs no slow one."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "ratings",
            "creationTimestamp": "2024-01-01T00:00:00Z",
            "managedFields": [
                {"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}}
            ],
        },
        "spec": {"ports": [{"name": "http", "port": 9080, "targetPort": "http", "protocol": "TCP"}]},
    }
    assert fits(service, builtin_schema("", "v1", "Service"))


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_what_users_write_fits(file: Path) -> None:
    """The resources of federation of the examples need no slow way."""
    federation = [each["spec"] for each in crds() if each["spec"]["group"] == "federation.maistra.io"]
    schemas = {each["names"]["kind"]: each["versions"][0]["schema"] for each in federation}
    for document in yaml.safe_load_all(file.read_text()):
        if document["kind"] in schemas:
            assert object_fits(document, schemas[document["kind"]]["openAPIV3Schema"]), document["kind"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"unknown": 1}, id="unknown field"),
        pytest.param({"spec": None}, id="null"),
        pytest.param({"spec": {"ports": [{"port": "http"}]}}, id="wrong type"),
    ],
)
def test_what_needs_a_look_does_not_fit(change: dict[str, Any]) -> None:
    """What the slow way would prune, drop or refuse is left to it."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ratings"}, **change}
    assert not fits(service, builtin_schema("", "v1", "Service"))
