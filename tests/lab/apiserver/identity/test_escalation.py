"""Writing roles and bindings gives nobody what their writer lacks."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.identity.escalation import GROUP, check_grant
from isthmus.lab.apiserver.identity.rbac import Policies
from isthmus.lab.apiserver.identity.user import ADMIN, User
from isthmus.lab.apiserver.objects import Key

ALICE = User("alice", ("staff",))


def rule(groups: str, resources: str, verbs: str, **more: Any) -> dict[str, Any]:
    return {"apiGroups": groups.split(" "), "resources": resources.split(), "verbs": verbs.split(), **more}


PODS = rule("", "pods pods/log", "get list")
ROLES: dict[tuple[str, str, str], dict[str, Any]] = {
    ("Role", "shop", "held"): {
        "rules": [
            PODS,
            rule("", "secrets", "get", resourceNames=["one", "two"]),
            rule("apps", "*", "*"),
            rule("", "*/scale", "get"),
            rule(GROUP, "clusterroles", "bind", resourceNames=["wide"]),
            rule(GROUP, "roles", "escalate", resourceNames=["free"]),
        ]
    },
    ("ClusterRole", "", "everywhere"): {
        "rules": [rule("", "nodes", "get"), {"nonResourceURLs": ["/api/*"], "verbs": ["get"]}]
    },
    ("ClusterRole", "", "wide"): {"rules": [rule("*", "*", "*")]},
    ("ClusterRole", "", "other"): {"rules": [rule("*", "*", "*")]},
}


def binding(kind: str, name: str) -> dict[str, Any]:
    return {"roleRef": {"kind": kind, "name": name}, "subjects": [{"kind": "Group", "name": "staff"}]}


POLICIES = Policies(
    cluster_bindings=[binding("ClusterRole", "everywhere")],
    bindings=lambda namespace: [binding("Role", "held")] if namespace == "shop" else [],
    role=lambda kind, namespace, name: ROLES.get((kind, namespace, name)),
)


def check(kind: str, obj: dict[str, Any], *, namespace: str = "shop", name: str = "new", user: User = ALICE) -> None:
    key = Key(f"{kind.lower()}s.{GROUP}", "" if kind.startswith("Cluster") else namespace, name)
    check_grant(user, key, {"kind": kind, **obj}, POLICIES)


@pytest.mark.parametrize(
    "granted",
    [
        pytest.param(rule("", "pods", "get"), id="a part of it"),
        pytest.param(rule("", "secrets", "get", resourceNames=["two"]), id="one of its names"),
        pytest.param(rule("apps", "deployments *", "get *"), id="whatever a group has"),
        pytest.param(rule("", "pods/scale", "get"), id="a part of any resource"),
        pytest.param(rule("", "nodes", "get"), id="what is held everywhere"),
        pytest.param({"nonResourceURLs": ["/api/v1", "/api/*"], "verbs": ["get"]}, id="paths"),
        pytest.param({"verbs": ["get"]}, id="nothing"),
    ],
)
def test_what_one_holds_may_be_granted(granted: dict[str, Any]) -> None:
    """A rule that the writer's own rules cover, together if need be, may be written where they hold."""
    check("Role", {"rules": [granted]})


@pytest.mark.parametrize(
    ("granted", "line"),
    [
        (rule("", "pods", "get watch delete"), '{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}'),
        (rule("", "pods", "*"), '{APIGroups:[""], Resources:["pods"], Verbs:["*"]}'),
        (rule("", "*", "get"), '{APIGroups:[""], Resources:["*"], Verbs:["get"]}'),
        (rule("*", "pods", "get"), '{APIGroups:["*"], Resources:["pods"], Verbs:["get"]}'),
        (rule("", "pods/exec", "get"), '{APIGroups:[""], Resources:["pods/exec"], Verbs:["get"]}'),
        (rule("", "secrets", "get"), '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'),
        (
            rule("", "secrets", "get", resourceNames=["one", "three"]),
            '{APIGroups:[""], Resources:["secrets"], ResourceNames:["three"], Verbs:["get"]}',
        ),
        ({"nonResourceURLs": ["/apis", "/api/v1"], "verbs": ["get"]}, '{NonResourceURLs:["/apis"], Verbs:["get"]}'),
        ({"nonResourceURLs": ["*"], "verbs": ["get"]}, '{NonResourceURLs:["*"], Verbs:["get"]}'),
    ],
)
def test_what_one_lacks_may_not_be_granted(granted: dict[str, Any], line: str) -> None:
    """The refusal tells what is lacking, and nothing else, in the words that clients know."""
    with pytest.raises(StatusError) as refused:
        check("Role", {"rules": [granted]})
    why = 'user "alice" (groups=["staff"]) is attempting to grant RBAC permissions not currently held:\n'
    assert refused.value.code == 403
    assert refused.value.message == f'roles.{GROUP} "new" is forbidden: {why}{line}'


def test_rights_of_a_namespace_are_not_for_all() -> None:
    """What is held in one namespace is granted neither in another one nor in the cluster; what is held there, is."""
    for kind, namespace in (("Role", "other"), ("ClusterRole", "shop")):
        with pytest.raises(StatusError, match="not currently held"):
            check(kind, {"rules": [PODS]}, namespace=namespace)
    check("ClusterRole", {"rules": [rule("", "nodes", "get")]})
    check("ClusterRole", {"rules": [rule("*", "*", "*")]}, user=ADMIN)


@pytest.mark.parametrize(
    ("kind", "reference", "code"),
    [
        pytest.param("RoleBinding", ("Role", "held"), 0, id="a role that is held"),
        pytest.param("RoleBinding", ("ClusterRole", "other"), 403, id="one that is not"),
        pytest.param("RoleBinding", ("ClusterRole", "wide"), 0, id="one that may be bound here"),
        pytest.param("ClusterRoleBinding", ("ClusterRole", "wide"), 403, id="and not everywhere"),
        pytest.param("ClusterRoleBinding", ("ClusterRole", "everywhere"), 0, id="one that is held everywhere"),
        pytest.param("ClusterRoleBinding", ("Role", "held"), 404, id="a role of no namespace"),
        pytest.param("RoleBinding", ("ClusterRole", "later"), 404, id="a role that may come later"),
        pytest.param("RoleBinding", ("Strange", "held"), 404, id="what is no role"),
    ],
)
def test_a_role_is_bound_by_who_holds_it_or_may_bind_it(kind: str, reference: tuple[str, str], code: int) -> None:
    """Bindings are judged by the rules of their role, which must be there."""
    if not code:
        check(kind, binding(*reference))
        return
    with pytest.raises(StatusError) as refused:
        check(kind, binding(*reference))
    assert refused.value.code == code


def test_who_may_escalate_writes_any_rule() -> None:
    """The verb ``escalate`` for a role lifts the bound."""
    check("Role", {"rules": [rule("*", "*", "*")]}, name="free")


def test_rules_without_bound_are_refused() -> None:
    """Rules are taken apart up to a limit; beyond it, and with many lacking, the message stays short."""
    many = [str(number) for number in range(1000)]
    for resources in (many, many[:50]):
        with pytest.raises(StatusError) as refused:
            check("Role", {"rules": [rule("", " ".join(resources), " ".join(many[:90]))]})
        assert refused.value.code == 403
        assert len(refused.value.message) < 50_000
    with pytest.raises(StatusError, match="more than 10000 combinations"):
        check("Role", {"rules": [rule("", " ".join(many), " ".join(many))]})
