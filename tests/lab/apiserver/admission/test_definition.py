"""Schemas of definitions that are none: refused field by field, before anything relies on them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lab.apiserver.definitions import definition

from isthmus.lab.apiserver.admission.definition import definition_errors

TEXT: dict[str, Any] = {"type": "string"}


def wrong_fields(spec: Any, **version: Any) -> list[str]:
    """Which fields of a version are complained of, when this is the schema of ``spec``, whose rule selects ``a``."""
    rules = [{"rule": "self.spec.a == 'x' && self.spec.b[0].a == 'y'"}]
    root = {"type": "object", "properties": {"spec": spec}, "x-kubernetes-validations": rules}
    places = "spec.versions[0].", "schema.openAPIV3Schema.properties"
    fields = [error.field for error in definition_errors(definition(root, **version), None)]
    return [field.removeprefix(places[0]).removeprefix(places[1]) for field in fields]


def of(**parts: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": TEXT, "b": {"type": "array", "items": of_a()}}, **parts}


def of_a() -> dict[str, Any]:
    return {"type": "object", "properties": {"a": TEXT}}


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("x", [".spec"]),
        (of(properties=["a"]), [".spec.properties"]),
        (of(properties={"a": "x", "b": None}), [".spec.properties.a", ".spec.properties.b"]),
        (of(properties={"a": {"type": ["x"]}}), [".spec.properties.a.type"]),
        (of(properties={"metadata": {"type": {}}}), [".spec.properties.metadata.type"]),
        ({"type": "array", "items": [of()]}, [".spec.items"]),
        (of(additionalProperties="x"), [".spec.additionalProperties"]),
        (of(**{"x-kubernetes-validations": {"rule": "true"}}), [".spec.x-kubernetes-validations"]),
        (of(**{"x-kubernetes-validations": ["true"]}), [".spec.x-kubernetes-validations[0]"]),
        (of(required="a", enum=None, allOf=[{"not": []}]), [".spec.required", ".spec.enum", ".spec.allOf[0].not"]),
        (of(properties={"a": {"type": "string", "maxLength": "1"}}), [".spec.properties.a.maxLength"]),
    ],
    ids=str,
)
def test_what_is_no_schema_is_refused(spec: Any, wrong: list[str]) -> None:
    """Each part of another type than it has to be is told, and rules that select into it are not judged."""
    assert wrong_fields(spec) == wrong


@pytest.mark.parametrize(
    "parts",
    [{"required": None, "not": None, "nullable": None, "allOf": None}, {"additionalProperties": True}, {"default": 1}],
    ids=str,
)
def test_null_is_another_writing_of_what_is_absent(parts: dict[str, Any]) -> None:
    """A part that is null is as if it were not there; what may be of any type is."""
    assert wrong_fields(of(**parts)) == []


@pytest.mark.parametrize(
    ("version", "wrong"),
    [
        (
            {"additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": ".spec.a"}, {"name": "b"}]},
            ["additionalPrinterColumns[1].type", "additionalPrinterColumns[1].jsonPath"],
        ),
        ({"selectableFields": [{"jsonPath": ".spec.a"}, {}]}, ["selectableFields[1].jsonPath"]),
        (
            {"subresources": {"scale": {}}},
            ["subresources.scale.specReplicasPath", "subresources.scale.statusReplicasPath"],
        ),
        (
            {"subresources": {"scale": {"specReplicasPath": ".metadata.a", "statusReplicasPath": ".status.a"}}},
            ["subresources.scale.specReplicasPath"],
        ),
    ],
    ids=str,
)
def test_what_is_shown_says_where_it_is(version: dict[str, Any], wrong: list[str]) -> None:
    """A definition is refused whose columns, selectable fields or scale lead nowhere."""
    assert wrong_fields(of(), **version) == wrong
