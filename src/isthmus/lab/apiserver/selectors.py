"""Label and field selectors: parse the text of a query parameter, match an object.

Pure. Source: Kubernetes documentation, "Labels and Selectors" (grammar) and "Field Selectors".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isthmus.lab.apiserver.errors import StatusError, bad_request
from isthmus.lab.apiserver.names import label_key_error, label_value_error
from isthmus.lab.apiserver.objects import Stored

SELECTOR_LIMIT = 16 * 1024
TERMS_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector. ``operator``: in, notin, exists, missing, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "missing":
                return value is None
        return value is not None and _compares(self.operator, value, next(iter(self.values)))


def _compares(operator: str, value: str, bound: str) -> bool:
    if not re.fullmatch(r"-?\d{1,18}", value):
        return False
    return int(value) > int(bound) if operator == "gt" else int(value) < int(bound)


LabelSelector = tuple[Requirement, ...]

_TOKEN = re.compile(r"\s*(==|!=|[=<>!(),]|[^\s=<>!(),]+)")
_OPERATORS = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}


class _Tokens:
    def __init__(self, text: str) -> None:
        self.items = _TOKEN.findall(text)
        self.at = 0

    def peek(self) -> str:
        return self.items[self.at] if self.at < len(self.items) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if (found := self.take()) != token:
            raise ValueError(f"found '{found}', expected: '{token}'")


def parse_labels(text: str) -> LabelSelector:
    """Parse a label selector such as ``a=b,c in (d,e),!f``.

    Raises StatusError (400) when it is not one.
    """
    if not text.strip():
        return ()
    if len(text) > SELECTOR_LIMIT:
        raise bad_request(f"unable to parse requirement: a label selector has at most {SELECTOR_LIMIT} characters")
    tokens = _Tokens(text)
    terms = []
    try:
        while True:
            terms.append(_requirement(tokens))
            if not tokens.peek():
                break
            tokens.expect(",")
            if len(terms) >= TERMS_LIMIT:
                raise ValueError(f"more than {TERMS_LIMIT} terms")
    except ValueError as error:
        raise bad_request(f"unable to parse requirement: {error}") from error
    return tuple(terms)


def _requirement(tokens: _Tokens) -> Requirement:
    if tokens.peek() == "!":
        tokens.take()
        return Requirement(_key(tokens.take()), "missing")
    key = _key(tokens.take())
    following = tokens.peek()
    if following in ("", ","):
        return Requirement(key, "exists")
    tokens.take()
    if following in ("in", "notin"):
        return Requirement(key, following, _set(tokens))
    if following not in _OPERATORS:
        raise ValueError(f"found '{following}', expected: in, notin, =, ==, !=, gt, lt")
    return _comparison(key, _OPERATORS[following], tokens)


def _comparison(key: str, operator: str, tokens: _Tokens) -> Requirement:
    value = "" if tokens.peek() in ("", ",") else _value(tokens.take())
    if operator in ("gt", "lt") and not re.fullmatch(r"-?\d{1,18}", value):
        raise ValueError(f"for 'Gt', 'Lt' operators, the value must be an integer, found '{value}'")
    return Requirement(key, operator, frozenset((value,)))


def _set(tokens: _Tokens) -> frozenset[str]:
    tokens.expect("(")
    values: set[str] = set()
    while tokens.peek() != ")":
        if tokens.peek() == ",":
            values.add("")
        else:
            values.add(_value(tokens.take()))
        if tokens.peek() != ")":
            tokens.expect(",")
    tokens.take()
    return frozenset(values)


def _key(text: str) -> str:
    if problem := label_key_error(text):
        raise ValueError(f'key: Invalid value: "{text}": {problem}')
    return text


def _value(text: str) -> str:
    if problem := label_value_error(text):
        raise ValueError(f'values[0]: Invalid value: "{text}": {problem}')
    return text


def labels_match(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One term of a field selector: ``path`` equals (or not) ``value``."""

    path: str
    value: str
    equal: bool


FieldSelector = tuple[FieldTerm, ...]


def parse_fields(text: str, *, supported: Sequence[str], kind: str) -> FieldSelector:
    """Parse a field selector such as ``metadata.name=a,status.phase!=Running``.

    Raises StatusError (400) when it is not one, or names a field that can't be selected on.
    """
    if len(text) > SELECTOR_LIMIT:
        raise bad_request(f"invalid selector: a field selector has at most {SELECTOR_LIMIT} characters")
    terms = tuple(_field_term(part) for part in _split_fields(text) if part)
    for term in terms:
        if term.path not in supported:
            raise _unsupported_field(kind, term.path)
    return terms


def _unsupported_field(kind: str, path: str) -> StatusError:
    return bad_request(f'Unable to find "{kind}" that match the field selector: field label not supported: {path}')


def _split_fields(text: str) -> list[str]:
    return [part.replace("\0", "\\") for part in re.split(r"(?<!\\),", text.replace("\\\\", "\0"))]


def _field_term(text: str) -> FieldTerm:
    match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", text, re.DOTALL)
    if not match:
        raise bad_request(f"invalid selector: '{text[:200]}'; can't understand '{text[:200]}'")
    value = re.sub(r"\\(.)", r"\1", match[3])
    return FieldTerm(match[1].strip(), value, equal=match[2] != "!=")


def fields_match(selector: FieldSelector, stored: Stored) -> bool:
    return all((stored.field(term.path) == term.value) == term.equal for term in selector)


@dataclass(frozen=True, slots=True)
class Selection:
    """Both selectors of a request."""

    labels: LabelSelector = ()
    fields: FieldSelector = ()

    def matches(self, stored: Stored) -> bool:
        if self.labels and not labels_match(self.labels, stored.labels):
            return False
        return not self.fields or fields_match(self.fields, stored)

    @property
    def name(self) -> str:
        """The one name that can match, "" when there may be others."""
        return next((term.value for term in self.fields if term.path == "metadata.name" and term.equal), "")

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)
