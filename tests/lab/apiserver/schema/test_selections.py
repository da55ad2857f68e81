"""Fields that rules select: what the schema does not have is refused with the definition, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lab.apiserver.definitions import definition

from isthmus.api.crds import crds
from isthmus.lab.apiserver.admission.definition import definition_errors

TEXT: dict[str, Any] = {"type": "string"}
PORT: dict[str, Any] = {"type": "object", "properties": {"number": {"type": "integer"}, "name": TEXT}}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "namespace": TEXT,
        "a-b": TEXT,
        "port": PORT,
        "other": PORT,
        "ports": {"type": "array", "items": PORT},
        "byName": {"type": "object", "additionalProperties": PORT},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "any": {"type": "object", "additionalProperties": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"x": TEXT}},
        "unknown": {"x-kubernetes-preserve-unknown-fields": True},
        "either": {"x-kubernetes-int-or-string": True},
        "template": {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": PORT}},
        "empty": {"type": "object"},
    },
}


def said(rule: str | dict[str, Any], *, at_root: bool = False) -> list[str]:
    """What is said of a definition whose ``spec``, or whose whole, has a rule."""
    rules = {"x-kubernetes-validations": [rule if isinstance(rule, dict) else {"rule": rule}]}
    root = {"type": "object", "properties": {"spec": SPEC | ({} if at_root else rules)}} | (rules if at_root else {})
    return [str(error) for error in definition_errors(definition(root), None)]


@pytest.mark.parametrize(
    "rule",
    [
        "self.name == 'x' && has(self.port) && self.port.number > 1",
        "self.__namespace__ == 'x' && self.a__dash__b == 'y'",
        "self.ports.all(p, p.number > 1 && p.name.startsWith('a'))",
        "self.ports.filter(p, p.number > 1).map(p, p.name).exists(n, n == 'a')",
        "self.ports[0].number == 1 && self.ports.exists_one(self, self.number == 1)",
        "self.byName.one.number == 1 && self.byName['two'].number == 1 && has(self.byName.three)",
        "self.byName.all(name, name != 'x' && self.byName[name].number > 1)",
        "self.labels.anything == 'x' && self.any.anything.below == 1",
        "self.free.whatever.below == 1 && self.unknown.whatever == 1 && self.unknown.list[0].x == 1",
        "self.template.spec.number == 1 && self.template.metadata.labels.x == 'y' && self.either.x == 1",
        "(self.name == 'x' ? self.port : self.other).number == 1",
        "(self.name == 'x' ? self.port : self.labels).anything == 1",
        "dyn(self).nope == 1 && {'a': self.name}.a == 'x' && [self.port][0].nope == 1",
        "cel.bind(p, self.port, p.number > 1)",
        "self.?port.?number.orValue(1) == 1 && self.port.?name.hasValue()",
        "self.port == oldSelf.port && oldSelf.ports.size() == 1",
        {"rule": "oldSelf.hasValue() ? oldSelf.value().name == self.name : true", "optionalOldSelf": True},
        {"rule": "self.name == 'x'", "messageExpression": "'not ' + self.name + string(self.port.number)"},
        "!!!!!!!!!!!!!!!!!!!!!!!!!!!has(self.port.name)",
    ],
    ids=str,
)
def test_what_there_is_may_be_selected(rule: str | dict[str, Any]) -> None:
    """Fields, keys of maps, items of lists, and whatever is not known for certain."""
    assert said(rule) == []


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("self.nope == 1", "1:5: undefined field 'nope'"),
        ("has(self.nope)", "1:4: undefined field 'nope'"),
        ("self.name == 'x' ||\n  self.port.nope == 1", "2:12: undefined field 'nope'"),
        ("self.name == oldSelf.nope", "1:21: undefined field 'nope'"),
        ("self.namespace == 'x'", "1:5: undefined field 'namespace'"),
        ("self.empty.x == 1", "1:11: undefined field 'x'"),
        ("self.ports.all(p, p.nope > 1)", "1:20: undefined field 'nope'"),
        ("self.ports[0].nope == 1", "1:14: undefined field 'nope'"),
        ("self.byName.one.nope == 1", "1:16: undefined field 'nope'"),
        ("self.byName['one'].nope == 1", "1:19: undefined field 'nope'"),
        ("(true ? self.port : self.other).nope == 1", "1:32: undefined field 'nope'"),
        ("cel.bind(p, self.port, p.nope > 1)", "1:25: undefined field 'nope'"),
        ("self.?nope.orValue(1) == 1", "1:5: undefined field 'nope'"),
        ("size([self.nope]) > {'a': self.name}.size()", "1:11: undefined field 'nope'"),
        ("self.name.length == 1", "1:10: type 'string' does not support field selection"),
        ("self.ports.number == 1", "1:11: type 'array' does not support field selection"),
        ("self.name.contains(self.nope)", "1:24: undefined field 'nope'"),
        ({"rule": "self.nope == 1 || oldSelf.hasValue()", "optionalOldSelf": True}, "1:5: undefined field 'nope'"),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused(rule: str | dict[str, Any], what: str) -> None:
    """The definition is refused, with the place in the rule and the field that is not there."""
    [error] = said(rule)
    place = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: "
    assert error.startswith(place)
    assert f"compilation failed: ERROR: <input>:{what}\n | " in error


def test_a_message_is_checked_as_its_rule() -> None:
    """An expression for the message selects from the same."""
    [error] = said({"rule": "self.name == 'x'", "messageExpression": "self.nope"})
    assert "[0].messageExpression: Invalid value" in error


def test_what_is_nested_too_deep_to_be_read_back_passes() -> None:
    """It compiles, so it is not refused; what is wrong with it is found when it runs."""
    loops = "".join(f"self.ports.all(p{number}, " for number in range(25))
    assert said(f"{loops} self.nope {')' * 25}") == []


def test_what_a_kind_has_at_its_root() -> None:
    """A rule of the whole object sees its type, its name and nothing else of its metadata."""
    seen = "self.kind == 'Thing' && self.apiVersion != '' && self.metadata.name == self.spec.name"
    assert said(f"{seen} && !has(self.metadata.generateName)", at_root=True) == []
    [error] = said("has(self.metadata.labels)", at_root=True)
    assert "undefined field 'labels'" in error
    [error] = said("has(self.metadata)")
    assert "undefined field 'metadata'" in error


@pytest.mark.parametrize("definition", crds(), ids=lambda each: each["spec"]["names"]["kind"])
def test_our_own_definitions_pass(definition: dict[str, Any]) -> None:
    """The definitions that isthmus brings are sound."""
    assert definition_errors(definition, None) == []
