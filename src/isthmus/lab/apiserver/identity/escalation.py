"""Nobody gives away rights that they lack: what writing a role, or binding one, needs. Pure.

Source: Kubernetes documentation, "Using RBAC Authorization: Privilege escalation prevention and bootstrapping".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, product
from typing import Any

from isthmus.lab.apiserver.errors import forbidden, not_found, shown
from isthmus.lab.apiserver.identity.rbac import Attributes, Policies, Rule, allowed, bound_role, rule_allows, rules_for
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.objects import Key

GROUP = "rbac.authorization.k8s.io"
PIECES_LIMIT, COMPARISONS_LIMIT = 10_000, 1_000_000
LINES_LIMIT = 20
_PLURALS = {"Role": "roles", "ClusterRole": "clusterroles"}


def check_grant(user: User, key: Key, obj: Mapping[str, Any], policies: Policies) -> None:
    """May a user write this role or binding?

    Who has ``escalate`` (for a role) or ``bind`` (for the role of a binding) may; others if they hold all of its rules
    themselves, where it holds. Raises StatusError: 403 with the rules that they lack, 404 for a role that is not there.
    """
    verb, kind, name = _written(key, obj)
    plural = _PLURALS.get(kind, "")
    if allowed(user, Attributes(verb, GROUP, plural, namespace=key.namespace, name=name), policies):
        return
    role = obj if verb == "escalate" else bound_role(obj, key.namespace, policies)
    if role is None:
        raise not_found(f"{plural}.{GROUP}", name)
    held = list(rules_for(user, key.namespace, policies))
    most = min(PIECES_LIMIT, COMPARISONS_LIMIT // (len(held) or 1))
    pieces = list(islice(chain.from_iterable(_pieces(rule) for rule in role.get("rules") or ()), most + 1))
    if len(pieces) > most:
        why = f"its rules have more than {most} combinations of a verb with what it is for; split the role"
        raise forbidden(key.resource, key.name, why)
    if lacking := [piece for piece in pieces if not any(rule_allows(rule, piece) for rule in held)]:
        raise forbidden(key.resource, key.name, _told(user, lacking))


def _written(key: Key, obj: Mapping[str, Any]) -> tuple[str, str, str]:
    """The verb that allows to write it freely, and the kind and the name of the role that it is for."""
    if obj["kind"] in _PLURALS:
        return "escalate", obj["kind"], key.name
    reference = obj.get("roleRef") or {}
    return "bind", reference.get("kind", ""), reference.get("name", "")


def _pieces(rule: Rule) -> Iterator[Attributes]:
    """A rule taken apart, each piece with one verb for one thing, as a request would have it."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield Attributes(verb, path=path)
        things = (rule.get("apiGroups") or (), rule.get("resources") or (), rule.get("resourceNames") or ("",))
        for group, resource, name in product(*things):
            plural, _, part = resource.partition("/")
            yield Attributes(verb, group, plural, part, name=name)


def _told(user: User, lacking: Iterable[Attributes]) -> str:
    """The pieces, those that differ in their verb only as one."""
    verbs: dict[Attributes, list[str]] = {}
    for piece in lacking:
        verbs.setdefault(replace(piece, verb=""), []).append(piece.verb)
    lines = sorted(_line(piece, each) for piece, each in islice(verbs.items(), LINES_LIMIT))
    more = [f"and {len(verbs) - LINES_LIMIT} more"] if len(verbs) > LINES_LIMIT else []
    who = f"user {shown(user.name)} (groups={_listed(user.groups)})"
    return f"{who} is attempting to grant RBAC permissions not currently held:\n" + "\n".join((*lines, *more))


def _line(piece: Attributes, verbs: Sequence[str]) -> str:
    resource = f"{piece.resource}/{piece.subresource}" if piece.subresource else piece.resource
    parts = {"NonResourceURLs": [piece.path]} if piece.path else {"APIGroups": [piece.group], "Resources": [resource]}
    if piece.name:
        parts["ResourceNames"] = [piece.name]
    parts["Verbs"] = list(dict.fromkeys(verbs))
    return "{" + ", ".join(f"{name}:{_listed(values)}" for name, values in parts.items()) + "}"


def _listed(texts: Iterable[str]) -> str:
    return f"[{' '.join(shown(text) for text in texts)}]"
