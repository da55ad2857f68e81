"""CEL expressions of validation rules: compiled once, evaluated with bounds. Pure.

``self`` and ``oldSelf`` have no static types here: that fields exist is for ``selections`` to say. The iterations of
one evaluation are bounded by the library, its length by ``LENGTH_LIMIT``.
Source: Kubernetes documentation, "Common Expression Language in Kubernetes"; the CEL specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from isthmus.lab.apiserver.schema.functions import extension

if TYPE_CHECKING:
    from cel_expr_python import cel

LENGTH_LIMIT = 16 * 1024
_OLD = re.compile(r"\boldSelf\b")
_OPTIONAL_OLD = "cel.bind(oldSelf, size(old) == 0 ? optional.none() : optional.of(old[0]), {})"


class ExpressionError(Exception):
    """An expression can't be compiled, or its evaluation failed; the text says why."""


def is_transition(expression: str) -> bool:
    """Whether a rule compares with what was before."""
    return _OLD.search(expression) is not None


def evaluate(expression: str, value: Any, old: tuple[Any, ...], *, optional_old: bool = False) -> Any:
    """The value of an expression; ``old`` is empty if there was nothing before. Raises ExpressionError."""
    data: Mapping[str, Any] = {"self": value, "old": list(old)} if optional_old else {"self": value}
    if old and not optional_old:
        data = {**data, "oldSelf": old[0]}
    try:
        result = compiled(expression, optional_old).eval(data=data)
    except RuntimeError as error:
        raise ExpressionError(_reworded(str(error))) from error
    if result.type().name() == "ERROR":
        raise ExpressionError(_reworded(str(result.plain_value())))
    return result.plain_value()


@lru_cache(maxsize=1024)
def compiled(expression: str, optional_old: bool = False) -> cel.Expression:  # lru_cache's key
    """Raises ExpressionError."""
    if len(expression) > LENGTH_LIMIT:
        raise ExpressionError(f"must be at most {LENGTH_LIMIT} characters long, has {len(expression)}")
    try:
        if optional_old:
            return _environment("self", "old").compile(_OPTIONAL_OLD.format(expression))
        return _environment("self", "oldSelf").compile(expression)
    except RuntimeError as error:
        raise ExpressionError(
            str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        ) from error


def parsed(expression: str) -> Any:
    """The tree of an expression (``cel.expr.CheckedExpr``); None if there is none, or none that can be read back."""
    from cel.expr.checked_pb2 import CheckedExpr
    from google.protobuf.any_pb2 import Any as Wrapped
    from google.protobuf.message import DecodeError

    wrapped, tree = Wrapped(), CheckedExpr()
    try:
        wrapped.ParseFromString(compiled(expression).serialize())
        return tree if wrapped.Unpack(tree) else None
    except (DecodeError, ExpressionError):  # the first: it is nested too deep
        return None


@cache
def _environment(*variables: str) -> cel.Env:
    # 14 MB of memory, for clusters that have rules.
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(), extension()]
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=extensions)


def _reworded(text: str) -> str:
    """The library's errors in the words that the API's clients know."""
    if missing := re.search(r'Key not found in map : "(.*)"', text):
        return f"no such key: {missing[1]}"
    if "Iteration budget exceeded" in text:
        return "operation cancelled: actual cost limit exceeded"
    return _without_code(text)


def _without_code(text: str) -> str:
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", text)
