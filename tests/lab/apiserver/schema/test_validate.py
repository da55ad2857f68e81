"""Structural schemas: validation, pruning, defaults."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.lab.apiserver.schema import builtin_schema, set_defaults, unknown_fields, validate
from isthmus.lab.apiserver.schema.prune import drop_nulls

SPEC = "spec"


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, "x", 'Invalid value: "string": spec in body must be of type integer: "string"'),
        ({"type": "string"}, 5, 'Invalid value: "integer": spec in body must be of type string: "integer"'),
        ({"type": "integer"}, 1.5, 'Invalid value: "number": spec in body must be of type integer: "number"'),
        ({"type": "boolean"}, None, 'Invalid value: "null": spec in body must be of type boolean: "null"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "pattern": "^a+$"}, "b", "Invalid value: \"b\": spec in body should match '^a+$'"),
        (
            {"type": "string", "pattern": "^(a+)+$"},
            "a" * 40 + "!",
            f"Invalid value: \"{'a' * 40}!\": spec in body should match '^(a+)+$'",
        ),
        ({"type": "string", "pattern": "(?=a)"}, "a", "Invalid value: \"a\": spec in body should match '(?=a)'"),
        ({"type": "string", "pattern": "^a+$"}, "a\n", "Invalid value: \"a\\n\": spec in body should match '^a+$'"),
        ({"type": "string", "maxLength": 2}, "abc", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "minLength": 1}, "", 'Invalid value: "": spec in body should be at least 1 chars long'),
        ({"type": "integer", "minimum": 1}, 0, "Invalid value: 0: spec in body should be greater than or equal to 1"),
        ({"type": "integer", "maximum": 1}, 2, "Invalid value: 2: spec in body should be less than or equal to 1"),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            1,
            "Invalid value: 1: spec in body should be greater than 1",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 1},
            ["a", "b"],
            "Too many: 2: must have at most 1 items",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            [],
            "Invalid value: 0: spec in body should have at least 1 items",
        ),
        (
            {"type": "string", "format": "date-time"},
            "today",
            'Invalid value: "today": spec in body must be of type date-time: "today"',
        ),
        (
            {"type": "string", "format": "ipv4"},
            "::1",
            'Invalid value: "::1": spec in body must be of type ipv4: "::1"',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            'Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
        ),
    ],
)
def test_a_broken_rule_is_told_in_the_usual_words(schema: dict[str, Any], value: Any, message: str) -> None:
    """Each rule has its wording, with the path in front."""
    assert [str(error) for error in validate(value, schema, SPEC)] == [f"{SPEC}: {message}"]


def test_paths_lead_to_the_field() -> None:
    """Nested fields, items and missing fields are named by their whole path."""
    schema = {
        "type": "object",
        "properties": {
            "a": {
                "type": "array",
                "items": {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}},
            },
            "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    }
    errors = validate({"a": [{"b": "x"}, {}, {"b": 1}], "m": {"k": "v"}}, schema)
    assert [(error.field, error.reason) for error in errors] == [
        ("a[1].b", "FieldValueRequired"),
        ("a[2].b", "FieldValueTypeInvalid"),
        ("m.k", "FieldValueTypeInvalid"),
    ]


def test_lists_that_are_maps_have_no_item_twice() -> None:
    """Two items with the same keys are a duplicate; so are two of a set."""
    items = {"type": "object", "properties": {"name": {"type": "string"}}}
    schema = {
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    errors = validate([{"name": "a"}, {"name": "b"}, {"name": "a"}], schema, "l")
    assert [str(error) for error in errors] == ['l[2]: Duplicate value: {"name":"a"}']
    assert validate(["a", "a"], {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, "s")


def test_combined_schemas() -> None:
    """oneOf, anyOf, allOf and not are checked on top of the structure."""
    either = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}
    assert validate({"a": 1}, either) == []
    assert len(validate({"a": 1, "b": 2}, either)) == 1
    assert len(validate({}, {"type": "object", "not": {"required": ["a"]}, "allOf": [{"required": ["b"]}]})) == 1
    assert validate({"a": 1}, {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}) == []


def test_pruning_keeps_what_is_specified_or_to_be_preserved() -> None:
    """Unknown fields go, with their paths told; free-form parts stay, but specified fields within are pruned."""
    schema = {
        "type": "object",
        "properties": {
            "free": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"strict": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            },
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    value = {
        "kind": "K",
        "metadata": {"name": "a"},
        "free": {"any": 1, "strict": {"x": 1, "y": 2}},
        "list": [{"x": 1}, {"y": 2}],
        "map": {"k": "v"},
        "gone": True,
    }
    assert sorted(unknown_fields(value, schema)) == ["free.strict.y", "gone", "list[1].y"]
    assert value == {
        "kind": "K",
        "metadata": {"name": "a"},
        "free": {"any": 1, "strict": {"x": 1}},
        "list": [{"x": 1}, {}],
        "map": {"k": "v"},
    }


def test_defaults_fill_what_is_absent_at_any_depth() -> None:
    """Defaults are set in objects that are there, after their parents' defaults; nulls count as absent."""
    schema = {
        "type": "object",
        "properties": {
            "a": {
                "type": "object",
                "default": {"b": 1},
                "properties": {"b": {"type": "integer"}, "c": {"type": "integer", "default": 2}},
            },
            "d": {"type": "integer", "default": 3},
            "e": {"type": "object", "properties": {"f": {"type": "integer", "default": 4}}},
            "g": {"type": "string"},
        },
    }
    value: dict[str, Any] = {"d": None, "g": None}
    drop_nulls(value, schema)
    set_defaults(value, schema)
    assert value == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize("value", [{}, {"apiVersion": "v1"}, {"apiVersion": "", "kind": ""}], ids=str)
def test_an_embedded_resource_says_what_it_is(value: dict[str, str]) -> None:
    """What it lacks is told once, also where its schema requires the same."""
    schema = {"type": "object", "x-kubernetes-embedded-resource": True, "required": ["kind"]}
    lacks = sorted(error.field for error in validate(value, schema))
    assert lacks == [name for name in ("apiVersion", "kind") if not value.get(name)]


def test_the_schemas_of_built_in_kinds_know_their_fields() -> None:
    """Unknown fields of a Pod are found; numbers are quantities where quantities belong."""
    pod = {
        "metadata": {"name": "a", "labels": {"k": "v"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 1}}, "imagee": "x"}], "nodeNam": "n"},
    }
    schema = builtin_schema("", "v1", "Pod")
    assert unknown_fields(pod, schema) == ["spec.containers[0].imagee", "spec.nodeNam"]
    assert validate(pod, schema) == []
    assert [error.field for error in validate({"data": {"k": 1}}, builtin_schema("", "v1", "ConfigMap"))] == ["data.k"]
