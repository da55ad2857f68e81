"""Which fields an expression selects that the schema of its values does not have. Pure.

The parsed expression is walked with the schemas of its variables. What a part is when that is not certain (a result of
a function, unknown fields that are kept, an expression nested too deep to be read back) is not judged: such a field is
found when the rule runs. Nothing that a Kubernetes API server takes is refused.
Source: Kubernetes documentation, "Validation rules"; the CEL specification, cel/expr/syntax.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.schema.expressions import parsed
from isthmus.lab.apiserver.schema.rules import escaped

Shape = Schema | None
"""What a part of an expression is; None: not known."""

_TEXT: Schema = {"type": "string"}
_NAMED: Schema = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}
_IDENTIFIED: Mapping[str, Schema] = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _NAMED}
_WITHOUT_FIELDS = frozenset(("array", "boolean", "integer", "number", "string"))


def selection_errors(expression: str, schema: Schema, *, root: bool, optional_old: bool) -> list[str]:
    """What is wrong with each selection, in the words of CEL's checker, with its place in the expression.

    The expression is one that compiles. ``root``: its schema is that of a kind, whose objects have a name and a type.
    """
    if root:
        schema = {**schema, "properties": {**(schema.get("properties") or {}), **_IDENTIFIED}}
    tree = parsed(expression)
    if tree is None:
        return []
    walk = _Walk()
    walk.shape(tree.expr, {"self": schema, "oldSelf": None if optional_old else schema})
    return [_placed(expression, tree.source_info.positions[place], what) for place, what in walk.found]


def _placed(expression: str, offset: int, what: str) -> str:
    before = expression[:offset].split("\n")
    line, column = len(before), len(before[-1])
    text = expression.split("\n")[line - 1]
    return f"ERROR: <input>:{line}:{column + 1}: {what}\n | {text}\n | {'.' * column}^"


class _Walk:
    """Goes through an expression once; ``found`` are ids of its parts, each with what is wrong there."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []
        self._fields: dict[int, Mapping[str, Schema]] = {}  # by the ids of schemas, which outlive the walk

    def shape(self, part: Any, scope: Mapping[str, Shape]) -> Shape:
        """What a part is; what is in it is looked at too."""
        match part.WhichOneof("expr_kind"):
            case "ident_expr":
                return scope.get(part.ident_expr.name)
            case "select_expr":
                operand = self.shape(part.select_expr.operand, scope)
                return self._selected(part.id, operand, part.select_expr.field)
            case "call_expr":
                return self._called(part, scope)
            case "comprehension_expr":
                return self._comprehended(part.comprehension_expr, scope)
            case "list_expr":
                for one in part.list_expr.elements:
                    self.shape(one, scope)
            case "struct_expr":
                for entry in part.struct_expr.entries:
                    self.shape(entry.map_key, scope)
                    self.shape(entry.value, scope)
        return None

    def _selected(self, place: int, operand: Shape, name: str) -> Shape:
        if operand is None or _is_open(operand):
            return None
        if operand["type"] in _WITHOUT_FIELDS:
            self.found.append((place, f"type '{operand['type']}' does not support field selection"))
            return None
        if (values := operand.get("additionalProperties")) is not None:
            return values if isinstance(values, Mapping) else None
        fields = self._fields_of(operand)
        if name not in fields:
            self.found.append((place, f"undefined field '{name}'"))
        return fields.get(name)

    def _fields_of(self, schema: Schema) -> Mapping[str, Schema]:
        """Its properties by their names in expressions, made once: a long rule selects from a large schema often."""
        if id(schema) not in self._fields:
            properties = schema.get("properties") or {}
            self._fields[id(schema)] = {escaped(known): one for known, one in properties.items()}
        return self._fields[id(schema)]

    def _called(self, part: Any, scope: Mapping[str, Shape]) -> Shape:
        call = part.call_expr
        if call.HasField("target"):
            self.shape(call.target, scope)
        shapes = [self.shape(one, scope) for one in call.args]
        match call.function:
            case "_?._":  # self.?name
                self._selected(part.id, shapes[0], call.args[1].const_expr.string_value)
            case "_[_]" if shapes[0] is not None and not _is_open(shapes[0]):
                return _within(shapes[0])
            case "_?_:_" if shapes[1] == shapes[2]:
                return shapes[1]
        return None

    def _comprehended(self, loop: Any, scope: Mapping[str, Shape]) -> Shape:
        """Macros: ``all``, ``exists``, ``map``, ``filter``, and ``cel.bind``, which is a loop over nothing."""
        over, first = self.shape(loop.iter_range, scope), self.shape(loop.accu_init, scope)
        item = over["items"] if over is not None and isinstance(over.get("items"), Mapping) else None
        is_bound = loop.loop_step.ident_expr.name == loop.accu_var
        inner = {**scope, loop.iter_var: item, loop.accu_var: first if is_bound else None}
        if loop.iter_var2:
            inner |= {loop.iter_var: None, loop.iter_var2: item}
        self.shape(loop.loop_condition, inner)
        self.shape(loop.loop_step, inner)
        return self.shape(loop.result, {**scope, loop.accu_var: inner[loop.accu_var]})


def _is_open(schema: Schema) -> bool:
    """Whether a value may be, or have, what the schema does not say."""
    free = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource")
    return not schema.get("type") or any(schema.get(name) for name in free)


def _within(schema: Schema) -> Shape:
    """What the items of a list, or the values of a map, are."""
    below = schema.get("items") if schema["type"] == "array" else schema.get("additionalProperties")
    return below if isinstance(below, Mapping) else None
