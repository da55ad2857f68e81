"""How one rule picks services and renames them; export and import rules are made of these.

Source: docs/reference.md §4. Empty or ``*`` matches anything in a selector and keeps the original in an alias; ``*``
stands for a whole value only.
"""

from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Scope:
    """Which names a rule looks at, and what it requires of labels; ``requirements`` are one text each."""

    namespace: str = ""
    name: str = ""
    requirements: frozenset[str] = frozenset()

    def covers(self, other: "Scope") -> bool:
        """Whether it is certain that all that the other scope matches is matched by this one too."""
        narrower = _is_within(other.namespace, self.namespace) and _is_within(other.name, self.name)
        return narrower and self.requirements <= other.requirements


def name_scope(selector: NameSelector) -> Scope:
    """What a selector by name matches."""
    return Scope(selector.namespace, selector.name)


def label_scope(namespace: str, selector: LabelSelector | None) -> Scope:
    """What a selector by label matches."""
    wanted = selector or LabelSelector()
    equal = {f"{key} In {value}" for key, value in (wanted.match_labels or {}).items()}
    others = {
        " ".join((each.key, each.operator, *sorted(each.values or ()))) for each in wanted.match_expressions or ()
    }
    return Scope(namespace, "", frozenset(equal | others))


def rule_problems(field: str, reasons: Sequence[str], scopes: Sequence[Scope | None]) -> tuple[Problem, ...]:
    """What is wrong with the rules of ``field``: those left out for a reason, those that an earlier one shadows."""
    unusable = [
        Problem(index, "InvalidRule", f"{field}[{index}] is not used: {why}")
        for index, why in enumerate(reasons)
        if why
    ]
    shadowed = [
        Problem(
            index,
            "ShadowedRule",
            f"{field}[{index}] never decides: {field}[{first}] matches all that it matches; move it up or remove it",
        )
        for index, first in _shadowing(scopes)
    ]
    return tuple(sorted((*unusable, *shadowed), key=lambda problem: problem.rule))


def _shadowing(scopes: Sequence[Scope | None]) -> Iterator[tuple[int, int]]:
    """Scopes that an earlier one covers: (index, index of that earlier one). None stands for a rule left out."""
    # By namespace and name, since a set may have ten thousand rules: only four places can hold a wider one.
    seen: dict[tuple[str, str], list[tuple[int, Scope]]] = {}
    for index, scope in enumerate(scopes):
        if scope is None:
            continue
        namespace, name = scope.namespace or "*", scope.name or "*"
        places = {(one, other) for one in (namespace, "*") for other in (name, "*")}
        wider = [at for place in places for at, each in seen.get(place, ()) if each.covers(scope)]
        if wider:
            yield index, min(wider)
        else:
            seen.setdefault((namespace, name), []).append((index, scope))


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


def _is_within(pattern: str, wider: str) -> bool:
    return wider in _ANY or pattern == wider


def _kept(alias: str, original: str) -> str:
    return original if alias in _ANY else alias
