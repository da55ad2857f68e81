"""RBAC as a pure function."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.lab.apiserver.identity.rbac import Attributes, Policies, allowed, refusal, rule_allows
from isthmus.lab.apiserver.identity.user import ANONYMOUS, User, service_account

BOB = service_account("shop", "bob")
ROLES: dict[tuple[str, str, str], dict[str, Any]] = {
    ("Role", "shop", "reader"): {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]},
    ("ClusterRole", "", "writer"): {"rules": [{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}]},
}


def binding(kind: str, name: str, *subjects: dict[str, str]) -> dict[str, Any]:
    return {"roleRef": {"kind": kind, "name": name}, "subjects": list(subjects)}


ACCOUNT = {"kind": "ServiceAccount", "name": "bob", "namespace": "shop"}
POLICIES = Policies(
    cluster_bindings=[binding("ClusterRole", "writer", {"kind": "Group", "name": "devs"})],
    bindings=lambda namespace: [binding("Role", "reader", ACCOUNT)] if namespace == "shop" else [],
    role=lambda kind, namespace, name: ROLES.get((kind, namespace, name)),
)


@pytest.mark.parametrize(
    ("user", "attributes", "expected"),
    [
        pytest.param(BOB, Attributes("get", resource="pods", namespace="shop"), True, id="bound in the namespace"),
        pytest.param(BOB, Attributes("get", resource="pods", namespace="other"), False, id="not in another"),
        pytest.param(BOB, Attributes("list", resource="pods"), False, id="not everywhere"),
        pytest.param(BOB, Attributes("delete", resource="pods", namespace="shop"), False, id="not another verb"),
        pytest.param(
            BOB, Attributes("get", resource="pods", subresource="log", namespace="shop"), False, id="not a part"
        ),
        pytest.param(
            User("x", ("devs",)), Attributes("delete", "apps", "deployments"), True, id="by group, everywhere"
        ),
        pytest.param(User("x", ("devs",)), Attributes("get", resource="pods"), False, id="not another API group"),
        pytest.param(User("x", ("system:masters",)), Attributes("x", path="/y"), True, id="masters may all"),
        pytest.param(ANONYMOUS, Attributes("get", path="/api"), False, id="nobody may nothing"),
    ],
)
def test_a_user_may_what_its_bindings_say(user: User, attributes: Attributes, expected: bool) -> None:
    """Bindings are looked up where they hold, and only there."""
    assert allowed(user, attributes, POLICIES) is expected


@pytest.mark.parametrize(
    ("rule", "attributes", "expected"),
    [
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/api/v1"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/api"]}, Attributes("get", path="/api/v1"), False),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, Attributes("get", path="/api"), False),
        ({"verbs": ["*"], "apiGroups": [""], "resources": ["pods/log"]}, Attributes("get", "", "pods", "log"), True),
        ({"verbs": ["*"], "apiGroups": [""], "resources": ["*/log"]}, Attributes("get", "", "pods", "log"), True),
        (
            {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
            Attributes("get", "", "pods", name="a"),
            True,
        ),
        (
            {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
            Attributes("list", "", "pods"),
            False,
        ),
        ({}, Attributes("get", "", "pods"), False),
    ],
)
def test_one_rule(rule: dict[str, Any], attributes: Attributes, expected: bool) -> None:
    """Paths, parts of resources and names are matched as documented."""
    assert rule_allows(rule, attributes) is expected


def test_a_refusal_says_who_what_and_where() -> None:
    """The wording is what clients and their users know."""
    text = refusal(BOB, Attributes("get", "apps", "deployments", "scale", "shop"))
    who = 'User "system:serviceaccount:shop:bob" cannot get resource "deployments/scale"'
    assert text == f'{who} in API group "apps" in the namespace "shop"'
