"""The manifest that installs the operator."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from isthmus.operator import rbac
from isthmus.operator.controller import KINDS

MANIFEST = Path(__file__).parents[2] / "deploy" / "operator.yaml"
Right = tuple[str, str, str]


def documents() -> list[Any]:
    """Return the documents of the manifest."""
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def rights(rules: Iterable[tuple[list[str], list[str], list[str]]]) -> set[Right]:
    """Return every (group, resource, verb) of the rules."""
    return {
        (group, resource, verb)
        for groups, resources, verbs in rules
        for group in groups
        for resource in resources
        for verb in verbs
    }


def held() -> set[Right]:
    """Return what the operator may do."""
    (role,) = (each for each in documents() if each["kind"] == "ClusterRole")
    return rights((rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in role["rules"])


def granted() -> set[Right]:
    """Return what the operator grants to control planes."""
    return rights(
        (rule.apiGroups or [], rule.resources or [], rule.verbs)
        for rule in (*rbac.CLUSTER_RULES, *rbac.NAMESPACE_RULES)
    )


def needed() -> set[Right]:
    """Return what the operator does itself."""
    kinds = [(kind._api_info.resource.group, kind._api_info.plural) for kind in KINDS]
    writes = {(group, plural, verb) for group, plural in kinds for verb in ("create", "update", "patch", "delete")}
    reads = {
        (group, plural, verb)
        for group, plural in (*kinds, ("maistra.io", "servicemeshcontrolplanes"))
        for verb in ("get", "list", "watch")
    }
    status = {("maistra.io", "servicemeshcontrolplanes/status", verb) for verb in ("get", "update", "patch")}
    return reads | writes | status


def test_operator_may_do_what_it_does_and_grants_and_no_more() -> None:
    """The operator has the rights that it uses and those that it grants, without which it could not, and no others."""
    assert held() == granted() | needed()


def test_no_wildcards() -> None:
    """No rule says "everything"."""
    assert not [right for right in held() if "*" in right]


def test_operator_runs_as_the_account_that_is_bound() -> None:
    """The Deployment's account is the one that the binding names, and its labels match its selector."""
    by_kind = {each["kind"]: each for each in documents()}
    pod = by_kind["Deployment"]["spec"]["template"]
    (subject,) = by_kind["ClusterRoleBinding"]["subjects"]
    assert pod["spec"]["serviceAccountName"] == subject["name"] == by_kind["ServiceAccount"]["metadata"]["name"]
    assert by_kind["Deployment"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
