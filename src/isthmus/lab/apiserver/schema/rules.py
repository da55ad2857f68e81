"""Validation rules of a schema (``x-kubernetes-validations``) over a value and what it was before. Pure.

Source: Kubernetes documentation, "CustomResourceDefinitions: Validation rules", "Transition rules", "Validation
ratcheting": a rule that does not look back is not asked again about what has not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from isthmus.lab.apiserver.errors import FieldError, forbidden_field, invalid_value, required
from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.schema.expressions import ExpressionError, evaluate, is_transition

EVALUATIONS_LIMIT = 20_000
"""How many rules are evaluated for one object; a list of ten thousand items may have two each."""
RULES = "x-kubernetes-validations"
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
_SIGNS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


@dataclass(slots=True)
class _Budget:
    left: int = EVALUATIONS_LIMIT


@dataclass(frozen=True)
class _Place:
    """A value in an object: where, what was there before (nothing: an empty tuple), and what is said of it."""

    value: Any
    old: tuple[Any, ...]
    path: str
    schema: Schema

    @property
    def type(self) -> str:
        return str(self.schema.get("type", ""))

    @cached_property
    def seen(self) -> tuple[Any, tuple[Any, ...]]:
        """Both values as all rules of the place see them."""
        return as_cel(self.value, self.schema), tuple(as_cel(one, self.schema) for one in self.old)


def rule_errors(obj: Mapping[str, Any], old: Mapping[str, Any] | None, schema: Schema) -> list[FieldError]:
    """What the rules of a kind's schema say of an object."""
    if not _has_rules(schema):
        return []
    before = () if old is None else (_root(old),)
    return list(_walk(_Place(_root(obj), before, "", schema), _Budget()))


def _root(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object as its rules may see it: of the metadata only the name."""
    names = {name: one for name, one in obj["metadata"].items() if name in ("name", "generateName")}
    return {**obj, "metadata": names}


def _has_rules(schema: Schema) -> bool:
    return bool(schema.get(RULES)) or any(_has_rules(below) for below in _below(schema))


def _looks_back(schema: Schema) -> bool:
    """Whether there are transition rules, which also hold for what has not changed."""
    own = any(is_transition(str(rule["rule"])) for rule in schema.get(RULES) or ())
    return own or any(_looks_back(below) for below in _below(schema))


def _below(schema: Schema) -> Iterator[Schema]:
    yield from (schema.get("properties") or {}).values()
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield schema[name]


def _walk(place: _Place, budget: _Budget) -> Iterator[FieldError]:
    if place.value is None or not _has_rules(place.schema):
        return
    if place.old == (place.value,) and not _looks_back(place.schema):
        return
    for rule in place.schema.get(RULES) or ():
        if budget.left <= 0:
            return
        yield from _apply(rule, place, budget)
    for below in _places(place):
        yield from _walk(below, budget)


def _apply(rule: Mapping[str, Any], place: _Place, budget: _Budget) -> Iterator[FieldError]:
    expression, optional = str(rule["rule"]), bool(rule.get("optionalOldSelf"))
    transition = is_transition(expression)
    if (transition and not place.old and not optional) or (not transition and place.old == (place.value,)):
        return
    budget.left -= 1
    if budget.left == 0:
        yield invalid_value(place.path, place.type, _OUT_OF_BUDGET)
        return
    value, old = place.seen
    try:
        if evaluate(expression, value, old, optional_old=optional) is not True:
            yield _broken(rule, place, _message(rule, value, old))
    except ExpressionError as error:
        said = rule.get("message") or expression.strip()
        yield invalid_value(place.path, place.type, f"{error} evaluating rule: {said}")


def _message(rule: Mapping[str, Any], value: Any, old: tuple[Any, ...]) -> str:
    """What is wrong: as the expression for it says, else the message, else the rule itself."""
    fixed = rule.get("message") or f"failed rule: {str(rule['rule']).strip()}"
    if not rule.get("messageExpression"):
        return fixed
    try:
        said = evaluate(str(rule["messageExpression"]), value, old, optional_old=bool(rule.get("optionalOldSelf")))
    except ExpressionError:
        return fixed
    return said if isinstance(said, str) and said.strip() and "\n" not in said else fixed


def _broken(rule: Mapping[str, Any], place: _Place, message: str) -> FieldError:
    path = f"{place.path}{rule.get('fieldPath', '')}".lstrip(".")
    match rule.get("reason"):
        case "FieldValueRequired":
            return required(path, message)
        case "FieldValueForbidden":
            return forbidden_field(path, message)
        case _:
            return invalid_value(path, place.type, message)


def _places(place: _Place) -> Iterator[_Place]:
    """The values in a value, each with what it was before."""
    value, old, schema = place.value, place.old[0] if place.old else None, place.schema
    if isinstance(value, Mapping):
        for name, one in value.items():
            known = (schema.get("properties") or {}).get(name)
            other = schema.get("additionalProperties")
            path = f"{place.path}.{name}".lstrip(".") if known is not None else f"{place.path}[{name}]"
            if isinstance(its := known if known is not None else other, Mapping):
                before = (old[name],) if isinstance(old, Mapping) and old.get(name) is not None else ()
                yield _Place(one, before, path, its)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        known_items = _items_by_key(old, schema)
        for index, one in enumerate(value):
            before = known_items.get(_key_of(one, schema), ())
            yield _Place(one, before, f"{place.path}[{index}]", schema["items"])


def _items_by_key(old: Any, schema: Schema) -> dict[str, tuple[Any, ...]]:
    """The former items of a list whose items have keys; those of other lists cannot be told apart."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return {}
    return {_key_of(one, schema): (one,) for one in old}


def _key_of(item: Any, schema: Schema) -> str:
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    return repr([item.get(key) for key in keys]) if isinstance(item, Mapping) else ""


def as_cel(value: Any, schema: Schema) -> Any:
    """A value as expressions see it: properties by names that CEL can write, numbers as their schema has them."""
    if isinstance(value, Mapping):
        properties, other = schema.get("properties") or {}, schema.get("additionalProperties")
        below = other if isinstance(other, Mapping) else {}
        return {
            (escaped(name) if name in properties else name): as_cel(one, properties.get(name, below))
            for name, one in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items")
        return [as_cel(one, items if isinstance(items, Mapping) else {}) for one in value]
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    return value


def escaped(name: str) -> str:
    """The name of a property in an expression. Source: "Validation rules", on escaping."""
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[./-]", lambda found: _SIGNS[found[0]], name)
