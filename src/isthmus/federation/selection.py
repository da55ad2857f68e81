"""How one rule picks services and renames them; export and import rules are made of these.

Source: docs/reference.md §4. Empty or ``*`` matches anything in a selector and keeps the original in an alias; ``*``
stands for a whole value only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.api.selectors import Alias, LabelRequirement, LabelSelector, NameSelector

_ANY = ("", "*")


@dataclass(frozen=True, slots=True, order=True)
class QualifiedName:
    """A namespace and a name, of a Service or under which one is shared."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one rule of a set, by its index from 0, and what to do about it."""

    rule: int
    reason: str
    message: str


def selects(selector: NameSelector, service: QualifiedName) -> bool:
    """Whether the selector matches this name."""
    return _matches(selector.namespace, service.namespace) and _matches(selector.name, service.name)


def renamed(service: QualifiedName, alias: Alias | None) -> QualifiedName:
    """The name under the alias; what the alias leaves open stays."""
    if alias is None:
        return service
    return QualifiedName(_kept(alias.namespace, service.namespace), _kept(alias.name, service.name))


def labels_match(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether all requirements of a Kubernetes label selector hold; an empty one matches everything."""
    if selector is None:
        return True
    equal = all(labels.get(key) == value for key, value in (selector.match_labels or {}).items())
    return equal and all(_requirement_holds(each, labels) for each in selector.match_expressions or ())


def selector_error(selector: LabelSelector | None) -> str:
    """Why a label selector cannot be used, or nothing (Kubernetes API: LabelSelectorRequirement)."""
    for requirement in (selector.match_expressions or ()) if selector else ():
        needs_values = requirement.operator in {"In", "NotIn"}
        if needs_values != bool(requirement.values):
            wanted = "at least one value" if needs_values else "no values"
            return f"operator {requirement.operator} of label {requirement.key!r} takes {wanted}"
    return ""


def _requirement_holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    listed = labels.get(requirement.key) in (requirement.values or ())
    return {
        "In": present and listed,
        "NotIn": not (present and listed),
        "Exists": present,
        "DoesNotExist": not present,
    }[requirement.operator]


def _matches(pattern: str, value: str) -> bool:
    return pattern in _ANY or pattern == value


def _kept(alias: str, original: str) -> str:
    return original if alias in _ANY else alias
