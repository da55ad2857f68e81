"""Validation rules in CEL: what they see, what they remember, what they cost, how they complain."""

from __future__ import annotations

import time
from typing import Any

import pytest

from isthmus.lab.apiserver.schema.expressions import ExpressionError, compiled
from isthmus.lab.apiserver.schema.rules import EVALUATIONS_LIMIT, rule_errors

META: dict[str, Any] = {"metadata": {"name": "a", "labels": {"x": "y"}}}


def rules(*found: str | dict[str, Any], **schema: Any) -> dict[str, Any]:
    """A schema with rules."""
    listed = [{"rule": one} if isinstance(one, str) else one for one in found]
    return {"type": "object", "x-kubernetes-validations": listed, **schema}


def of_spec(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": schema}}


def said(spec: Any, schema: dict[str, Any], old: Any = None) -> list[str]:
    """What is said of a spec that was ``old`` before."""
    before = None if old is None else {**META, "spec": old}
    return [str(error) for error in rule_errors({**META, "spec": spec}, before, of_spec(schema))]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("self.low <= self.high", 'spec: Invalid value: "object": failed rule: self.low <= self.high'),
        ({"rule": "self.low <= self.high", "message": "too low"}, 'spec: Invalid value: "object": too low'),
        (
            {"rule": "self.low <= self.high", "messageExpression": "'not %d'.format([self.low])"},
            'spec: Invalid value: "object": not 3',
        ),
        (
            {"rule": "self.low <= self.high", "messageExpression": "self.nope", "message": "m"},
            'spec: Invalid value: "object": m',
        ),
        (
            {"rule": "has(self.x)", "reason": "FieldValueRequired", "fieldPath": ".x", "message": "give it"},
            "spec.x: Required value: give it",
        ),
        ("self.nope == 1", 'spec: Invalid value: "object": no such key: nope evaluating rule: self.nope == 1'),
    ],
)
def test_the_wording(rule: Any, expected: str) -> None:
    """A broken rule is told by its message, its expression for one, or itself; an error by what went wrong."""
    assert said({"low": 3, "high": 2}, rules(rule)) == [expected]


def test_transition_rules_look_back() -> None:
    """A rule with oldSelf holds from the second write on; one with optionalOldSelf from the first."""
    immutable = rules("self.name == oldSelf.name")
    assert said({"name": "a"}, immutable) == []
    assert said({"name": "a"}, immutable, {"name": "a"}) == []
    assert len(said({"name": "b"}, immutable, {"name": "a"})) == 1
    first = rules({"rule": "oldSelf.hasValue() || self.name == 'first'", "optionalOldSelf": True})
    assert len(said({"name": "b"}, first)) == 1
    assert said({"name": "b"}, first, {"name": "a"}) == []


def test_items_are_followed_by_their_keys() -> None:
    """In a list of type map an item is compared with the one of its key; in others there is no before."""
    items = rules("self.size >= oldSelf.size", properties={"name": {}, "size": {"type": "integer"}})
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items}
    before = [{"name": "a", "size": 5}, {"name": "b", "size": 1}]
    after = [{"name": "c", "size": 0}, {"name": "b", "size": 2}, {"name": "a", "size": 4}]
    assert [one.partition(":")[0] for one in said(after, keyed, before)] == ["spec[2]"]
    assert said(after, {"type": "array", "items": items}, before) == []


def test_what_has_not_changed_is_not_asked_again() -> None:
    """An object that was stored before its rule came can be changed elsewhere."""
    part = rules("self.x > 1", properties={"x": {"type": "integer"}})
    schema = {"type": "object", "properties": {"part": part, "other": {"type": "string"}}}
    assert said({"part": {"x": 0}, "other": "b"}, schema, {"part": {"x": 0}, "other": "a"}) == []
    assert len(said({"part": {"x": 1}}, schema, {"part": {"x": 0}})) == 1


def test_what_an_expression_sees() -> None:
    """Numbers are as the schema says, awkward names are escaped, of the metadata there is the name only."""
    properties = {"ratio": {"type": "number"}, "a-b": {"type": "string"}, "namespace": {"type": "string"}}
    seen = rules(
        "self.ratio * 2.0 == 4.0", "self.a__dash__b == 'x'", "self.__namespace__ == 'n'", properties=properties
    )
    assert said({"ratio": 2, "a-b": "x", "namespace": "n"}, seen) == []
    root = rules("self.metadata.name == 'a'", "!has(self.metadata.labels)")
    assert rule_errors(META, None, root) == []


def test_the_cost_is_bounded() -> None:
    """Nested loops over long lists, and more rules than one object may have, end in an error within a moment."""
    began = time.perf_counter()
    loops = rules("self.all(a, self.all(b, self.all(c, true)))", type="array")
    assert "actual cost limit exceeded" in said(list(range(5000)), loops)[0]
    many = {"type": "array", "items": rules("self > 0", type="integer")}
    assert "running out of cost budget" in said([1] * (EVALUATIONS_LIMIT + 5), many)[0]
    with pytest.raises(ExpressionError, match="at most"):
        compiled("1 == 1 && " * 5000 + "true")
    assert time.perf_counter() - began < 10
