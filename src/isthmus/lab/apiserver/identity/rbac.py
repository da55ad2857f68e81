"""Role-based access control: may this user do that, by these roles and bindings? Pure.

Source: Kubernetes documentation, "Using RBAC Authorization".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.lab.apiserver.identity.user import MASTERS, User

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to be done: to a resource, or to a path that is none (``path`` is then set)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Policies:
    """The roles and bindings that are stored, as decoded objects; ``role`` finds one by (kind, namespace, name)."""

    cluster_bindings: Sequence[Mapping[str, Any]]
    bindings: Callable[[str], Sequence[Mapping[str, Any]]]
    role: Callable[[str, str, str], Mapping[str, Any] | None]


def allowed(user: User, attributes: Attributes, policies: Policies) -> bool:
    """Whether some rule that is bound to the user allows it."""
    if MASTERS in user.groups:
        return True
    return any(rule_allows(rule, attributes) for rule in rules_for(user, attributes.namespace, policies))


def rules_for(user: User, namespace: str, policies: Policies) -> Iterator[Rule]:
    """Every rule bound to a user, cluster-wide and in a namespace ("" = cluster-wide only)."""
    for binding in policies.cluster_bindings:
        if _binds(binding, user, ""):
            yield from _rules(binding, "", policies)
    for binding in policies.bindings(namespace) if namespace else ():
        if _binds(binding, user, namespace):
            yield from _rules(binding, namespace, policies)


def bound_role(binding: Mapping[str, Any], namespace: str, policies: Policies) -> Mapping[str, Any] | None:
    """The role that a binding in a namespace ("" = of the cluster) refers to; None if it is not there."""
    reference = binding.get("roleRef") or {}
    kind = reference.get("kind", "")
    return policies.role(kind, namespace if kind == "Role" else "", reference.get("name", ""))


def _rules(binding: Mapping[str, Any], namespace: str, policies: Policies) -> Sequence[Rule]:
    return (bound_role(binding, namespace, policies) or {}).get("rules") or ()


def _binds(binding: Mapping[str, Any], user: User, namespace: str) -> bool:
    return any(_is_subject(subject, user, namespace) for subject in binding.get("subjects") or ())


def _is_subject(subject: Mapping[str, Any], user: User, namespace: str) -> bool:
    name = subject.get("name", "")
    match subject.get("kind"):
        case "User":
            return bool(name == user.name)
        case "Group":
            return name in user.groups
        case "ServiceAccount":
            space = subject.get("namespace") or namespace
            return user.name == f"system:serviceaccount:{space}:{name}"
    return False


def rule_allows(rule: Rule, attributes: Attributes) -> bool:
    if not _covers(rule.get("verbs"), attributes.verb):
        return False
    if attributes.path:
        return any(_path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    return (
        _covers(rule.get("apiGroups"), attributes.group)
        and _resource_matches(rule.get("resources") or (), attributes)
        and (not rule.get("resourceNames") or attributes.name in rule["resourceNames"])
    )


def _covers(allowed_values: Sequence[str] | None, value: str) -> bool:
    return allowed_values is not None and ("*" in allowed_values or value in allowed_values)


def _resource_matches(resources: Sequence[str], attributes: Attributes) -> bool:
    if "*" in resources:
        return True
    if not attributes.subresource:
        return attributes.resource in resources
    wanted = f"{attributes.resource}/{attributes.subresource}"
    return wanted in resources or f"*/{attributes.subresource}" in resources


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == path


def refusal(user: User, attributes: Attributes) -> str:
    """Why something is forbidden, in the words that clients know."""
    if attributes.path:
        return f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}'
    )
