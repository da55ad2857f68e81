"""Projects of OpenShift: a view of Namespaces, of which each user sees those that it may get."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.lab.apiserver.clients import Kubectl, http_client, running

from isthmus.lab.apiserver import Settings, Started
from isthmus.lab.apiserver.rest.target import NO_STREAMS
from isthmus.lab.apiserver.storage.database import database_path

PROJECTS = "/apis/project.openshift.io/v1/projects"
REQUESTS = "/apis/project.openshift.io/v1/projectrequests"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
ALICE = {"Impersonate-User": "alice", "Impersonate-Group": "system:authenticated"}
"""Of the group that may ask for projects: what ``oc login`` with a password makes of a person."""
PERSON = ("--as=alice", "--as-group=system:authenticated", "--as-group=system:authenticated:oauth")


@pytest.fixture
async def alice(server: Started) -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(server) as client:
        client.headers["Impersonate-User"] = "alice"
        groups = [("Impersonate-Group", f"system:authenticated{oauth}") for oauth in ("", ":oauth")]
        client.headers = httpx2.Headers([*client.headers.multi_items(), *groups])
        yield client


def request(name: str, **more: str) -> dict[str, Any]:
    """A ProjectRequest as ``oc new-project`` sends it."""
    meta = {"name": name, "creationTimestamp": None}
    return {"kind": "ProjectRequest", "apiVersion": "project.openshift.io/v1", "metadata": meta, **more}


def view_of(name: str, user: str) -> dict[str, Any]:
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    role = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "view"}
    return {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}


async def names(http: httpx2.AsyncClient) -> list[str]:
    return [one["metadata"]["name"] for one in (await http.get(PROJECTS)).json()["items"]]


async def test_a_person_asks_for_a_project_and_is_its_administrator(
    alice: httpx2.AsyncClient, http: httpx2.AsyncClient
) -> None:
    """What ``oc new-project`` sends makes a Namespace in which whoever asked may do what administrators may."""
    assert (await alice.get(REQUESTS)).json()["status"] == "Success"
    assert await names(alice) == []
    made = await alice.post(REQUESTS, json=request("shop", displayName="The shop", description="Sells."))
    project = made.json()
    assert (made.status_code, project["kind"], project["status"]) == (201, "Project", {"phase": "Active"})
    assert project["metadata"]["annotations"] == {
        "openshift.io/requester": "alice",
        "openshift.io/display-name": "The shop",
        "openshift.io/description": "Sells.",
    }
    assert await names(alice) == ["shop"]
    assert (await alice.get("/api/v1/namespaces/shop/secrets")).status_code == 200
    assert (await alice.get("/api/v1/namespaces/default/secrets")).status_code == 403
    again = await alice.post(REQUESTS, json=request("shop"))
    message = 'projects.project.openshift.io "shop" already exists'
    assert (again.status_code, again.json()["message"]) == (409, message)
    assert (await http.get("/api/v1/namespaces/shop")).json()["spec"] == {"finalizers": ["kubernetes"]}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kube-more", 'cannot request a project starting with "kube-"'),
        ("kubernetes-more", 'cannot request a project starting with "kubernetes-"'),
        ("openshift-more", 'cannot request a project starting with "openshift-"'),
        ("openshift", 'cannot request a project with the name "openshift"'),
    ],
)
async def test_names_of_the_system_are_not_for_projects(alice: httpx2.AsyncClient, name: str, why: str) -> None:
    """Nobody asks for a project whose name says that it belongs to the cluster; ``kuber`` is a name like others."""
    refused = await alice.post(REQUESTS, json=request(name))
    assert (refused.status_code, refused.json()["message"].partition(" is forbidden: ")[2]) == (403, why)
    assert (await alice.post(REQUESTS, json=request("kuber"))).status_code == 201


async def test_a_project_without_its_administrator_does_not_stay(
    alice: httpx2.AsyncClient, http: httpx2.AsyncClient, tmp_path: Path
) -> None:
    """When the database refuses the binding, the Namespace is deleted again."""
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON current WHEN NEW.resource LIKE 'rolebindings.%'"
        " BEGIN SELECT RAISE(ABORT, 'no more bindings'); END"
    )
    with closing(sqlite3.connect(database_path(tmp_path / "data"))) as database:
        database.execute(refuse)
        database.commit()
    refused = await alice.post(REQUESTS, json=request("shop"))
    assert refused.status_code == 503
    assert "no more bindings" in refused.json()["message"]
    assert (await http.get("/api/v1/namespaces/shop")).json()["status"]["phase"] == "Terminating"


async def test_a_stranger_s_project_is_forbidden(alice: httpx2.AsyncClient) -> None:
    """What ``oc project`` asks: 403 for a project that one is no member of, whether there is one or not."""
    for name in ("default", "nowhere"):
        refused = await alice.get(f"{PROJECTS}/{name}")
        why = f'projects.project.openshift.io "{name}" is forbidden: User "alice" cannot get resource "projects"'
        assert refused.status_code == 403
        assert refused.json()["message"].startswith(why)
        assert (await alice.delete(f"{PROJECTS}/{name}")).status_code == 403


async def test_who_may_have_streams_is_told_that_there_are_none(
    alice: httpx2.AsyncClient, http: httpx2.AsyncClient
) -> None:
    """The right to ``pods/exec`` is asked for first, as for any part of a pod; then comes why it does not work."""
    await http.post(REQUESTS, json=request("other"))
    await http.post(BINDINGS.format("other"), json=view_of("v", "alice"))
    await alice.post(REQUESTS, json=request("shop"))
    for part in ("exec", "attach", "portforward"):
        path = f"/api/v1/namespaces/{{}}/pods/one/{part}"
        for answer in (await alice.post(path.format("shop")), await alice.get(path.format("shop"))):
            assert (answer.status_code, answer.json()["message"]) == (405, NO_STREAMS)
        refused = await alice.post(path.format("other"))
        assert refused.status_code == 403
        assert f'cannot create resource "pods/{part}" in API group "" in the name' in refused.json()["message"]
    assert (await alice.get("/api/v1/namespaces/shop/configmaps/one/exec")).status_code == 404


async def test_service_accounts_do_not_ask_for_projects(http: httpx2.AsyncClient) -> None:
    """Only who logged in may; others are told so by the answer to the GET."""
    account = {**ALICE, "Impersonate-User": "system:serviceaccount:default:bob"}
    assert (await http.get(REQUESTS, headers=account)).status_code == 403
    assert (await http.post(REQUESTS, json=request("shop"), headers=account)).status_code == 403
    assert (await http.get(PROJECTS, headers=account)).json()["items"] == []


async def test_who_am_i(alice: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    """``users/~`` is whoever asks; other users are not told of."""
    user = (await alice.get("/apis/user.openshift.io/v1/users/~")).json()
    assert (user["metadata"]["name"], user["groups"]) == (
        "alice",
        ["system:authenticated", "system:authenticated:oauth"],
    )
    assert (await alice.get("/apis/user.openshift.io/v1/users/bob")).status_code == 403
    assert (await http.get("/apis/user.openshift.io/v1/users/bob")).status_code == 404
    assert (await http.get("/apis/user.openshift.io/v1/users")).status_code == 405


async def test_may_i_ask_for_projects(alice: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    """The two questions of an ``oc login`` that finds no project; about others only who may ask that."""
    path = "/apis/authorization.openshift.io/v1/subjectaccessreviews"
    for verb, may in (("list", True), ("create", True), ("delete", False)):
        review = {"verb": verb, "resource": "projectrequests", "namespace": "default", "user": "", "groups": None}
        answer = await alice.post(path, json=review)
        assert (answer.status_code, answer.json()["allowed"]) == (201, may)
        assert answer.json()["kind"] == "SubjectAccessReviewResponse"
    about_bob = {"verb": "get", "resource": "pods", "namespace": "default", "user": "bob"}
    assert (await alice.post(path, json=about_bob)).status_code == 403
    assert (await http.post(path, json=about_bob)).json()["allowed"] is False
    about_masters = {**about_bob, "groups": ["system:masters"]}
    assert (await http.post(path, json=about_masters)).json()["allowed"] is True
    for given, may in (("", False), ("/version", True)):
        about_path = {"verb": "get", "isNonResourceURL": True, "path": given, "resource": "users", "resourceName": "~"}
        assert (await alice.post(path, json={**about_path, "resourceAPIGroup": "user.openshift.io"})).json()[
            "allowed"
        ] is may
    scoped = {"verb": "get", "resource": "pods", "scopes": ["user:info"]}
    assert (await alice.post(path, json=scoped)).status_code == 400
    assert (await alice.post(path, json={**scoped, "scopes": []})).status_code == 201


async def test_an_administrator_of_a_project_does_not_label_it(alice: httpx2.AsyncClient) -> None:
    """Name and description are changed through the Project; labels, by which others choose, are not, in no way."""
    await alice.post(REQUESTS, json=request("shop"))
    project = (await alice.get(f"{PROJECTS}/shop")).json()
    project["metadata"]["annotations"]["openshift.io/description"] = "Sells."
    assert (await alice.put(f"{PROJECTS}/shop", json=project)).status_code == 200
    label = {"metadata": {"name": "shop", "labels": {"mesh": "yes"}}}
    for kind, code in (("merge-patch+json", 422), ("strategic-merge-patch+json", 422), ("apply-patch+yaml", 415)):
        headers, params = {"Content-Type": f"application/{kind}"}, {"fieldManager": "a", "force": "true"}
        assert (await alice.patch(f"{PROJECTS}/shop", json=label, headers=headers, params=params)).status_code == code
    for part in (
        {"labels": {"mesh": "yes"}},
        {"labels": {"openshift.io/description": "Sells"}},
        {"labels": 5},
        {"finalizers": ["a/b"]},
    ):
        del project["metadata"]["resourceVersion"]
        changed = {**project, "metadata": {**project["metadata"], **part}}
        assert (await alice.put(f"{PROJECTS}/shop", json=changed)).status_code == 422
        project["metadata"]["resourceVersion"] = ""


async def test_an_administrator_of_a_project_grants_only_what_it_has(
    alice: httpx2.AsyncClient, http: httpx2.AsyncClient
) -> None:
    """By no way of writing roles and bindings does it come to change the Namespace; what it holds, it may pass on."""
    await alice.post(REQUESTS, json=request("shop"))
    path = BINDINGS.format("shop")
    roles = path.replace("rolebindings", "roles")
    assert (await alice.post(path, json=view_of("viewers", "bob"))).status_code == 201
    held = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    lacked = {"verbs": ["patch"], "apiGroups": [""], "resources": ["namespaces"]}
    role = {"metadata": {"name": "own"}, "rules": [held]}
    assert (await alice.post(roles, json=role)).status_code == 201
    everything = view_of("mine", "alice")
    everything["roleRef"]["name"] = "cluster-admin"
    for where, given in ((path, everything), (roles, {**role, "metadata": {"name": "more"}, "rules": [lacked]})):
        refused = await alice.post(where, json=given)
        assert refused.status_code == 403
        assert "attempting to grant RBAC permissions not currently held" in refused.json()["message"]
    assert (await alice.put(f"{roles}/own", json={**role, "rules": [held, lacked]})).status_code == 403
    full = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", **role, "rules": [lacked]}
    add = [{"op": "add", "path": "/rules/-", "value": lacked}]
    for kind, body in (("json-patch+json", add), ("strategic-merge-patch+json", full), ("apply-patch+yaml", full)):
        headers, params = {"Content-Type": f"application/{kind}"}, {"fieldManager": "a", "force": "true"}
        answer = await alice.patch(f"{roles}/own", json=body, headers=headers, params=params)
        assert answer.status_code == 403
    merge = {"Content-Type": "application/merge-patch+json"}
    await http.patch(f"{roles}/own", json={"rules": [held, lacked]}, headers=merge)
    for meta, code in (({"finalizers": ["a/b"]}, 200), ({"labels": {"a": "b"}}, 403)):
        assert (await alice.patch(f"{roles}/own", json={"metadata": meta}, headers=merge)).status_code == code


async def test_applying_what_is_not_there_needs_the_right_to_create(
    alice: httpx2.AsyncClient, http: httpx2.AsyncClient
) -> None:
    """Who may patch and not create changes what there is, and makes nothing."""
    role = {
        "metadata": {"name": "patcher"},
        "rules": [{"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]}],
    }
    await http.post(BINDINGS.format("default").replace("rolebindings", "roles"), json=role)
    binding = view_of("patches", "alice")
    binding["roleRef"] |= {"kind": "Role", "name": "patcher"}
    await http.post(BINDINGS.format("default"), json=binding)
    path, params = "/api/v1/namespaces/default/configmaps", {"fieldManager": "a"}
    await http.post(path, json={"metadata": {"name": "there"}})
    for name, code in (("there", 200), ("new", 403)):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        assert (await alice.patch(f"{path}/{name}", json=body, headers=headers, params=params)).status_code == code


async def event(lines: AsyncIterator[str]) -> tuple[str, str]:
    async with asyncio.timeout(5):
        found = json.loads(await anext(lines))
    return found["type"], found["object"]["metadata"]["name"]


async def test_a_watch_follows_rights(alice: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    """Projects come and go for their watcher with the rights to them, and nothing is told of others."""
    params = {"watch": "true", "resourceVersion": (await alice.get(PROJECTS)).json()["metadata"]["resourceVersion"]}
    async with alice.stream("GET", PROJECTS, params=params) as watch:
        lines = watch.aiter_lines()
        await http.post(REQUESTS, json=request("secret"))
        await alice.post(REQUESTS, json=request("shop"))
        assert await event(lines) == ("ADDED", "shop")
        await http.post(BINDINGS.format("secret"), json=view_of("v", "alice"))
        assert await event(lines) == ("ADDED", "secret")
        named = {"metadata": {"annotations": {"openshift.io/display-name": "Secret"}}}
        merge = {"Content-Type": "application/merge-patch+json"}
        await http.patch(f"{PROJECTS}/secret", json=named, headers=merge)
        assert await event(lines) == ("MODIFIED", "secret")
        await http.delete(BINDINGS.format("secret") + "/v")
        assert await event(lines) == ("DELETED", "secret")
        await http.patch(
            f"{PROJECTS}/secret", json={"metadata": {"annotations": {"openshift.io/display-name": None}}}, headers=merge
        )
        await alice.delete(f"{PROJECTS}/shop")
        assert await event(lines) == ("MODIFIED", "shop")


async def test_a_resumed_watch_tells_what_came_to_be_seen(alice: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    """A right that was given while nobody watched is an event of the watch that goes on from before."""
    await http.post(REQUESTS, json=request("secret"))
    params = {"watch": "true", "resourceVersion": (await alice.get(PROJECTS)).json()["metadata"]["resourceVersion"]}
    await http.post(BINDINGS.format("secret"), json=view_of("v", "alice"))
    await alice.post(REQUESTS, json=request("shop"))
    async with alice.stream("GET", PROJECTS, params=params) as watch:
        lines = watch.aiter_lines()
        assert {await event(lines), await event(lines)} == {("ADDED", "secret"), ("ADDED", "shop")}


async def test_default_roles_of_an_older_lab_are_completed(tmp_path: Path) -> None:
    """A start gives default roles the rules that they lack, but for those that are not to be updated."""
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    merge = {"Content-Type": "application/merge-patch+json"}
    frozen = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}}
    own = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}
    async with running(Settings(tmp_path)) as first, http_client(first) as http:
        fresh = (await http.get(f"{roles}/view")).json()["rules"]
        await http.patch(f"{roles}/view", json={"rules": [own]}, headers=merge)
        await http.patch(f"{roles}/edit", json={"rules": [own], **frozen}, headers=merge)
    async with running(Settings(tmp_path)) as again, http_client(again) as http:
        assert (await http.get(f"{roles}/view")).json()["rules"] == [own, *fresh]
        assert (await http.get(f"{roles}/edit")).json()["rules"] == [own]


@pytest.mark.kubectl
@pytest.mark.slow
async def test_projects_with_kubectl(kubectl: Kubectl) -> None:
    """``get``, ``describe``, ``apply``, ``label``, ``explain``, ``api-resources`` and ``delete`` of projects."""
    project = {"apiVersion": "project.openshift.io/v1", "kind": "Project", "metadata": {"name": "shop"}}
    await kubectl("apply", "-f", "-", stdin=json.dumps(project))
    await kubectl("annotate", "project", "shop", "openshift.io/display-name=The shop")
    refused = await kubectl.run("label", "project", "shop", "tier=front")
    assert (
        'metadata.labels[tier]: Invalid value: "front": field is immutable, try updating the namespace' in refused.err
    )
    await kubectl("label", "namespace", "shop", "tier=front")
    lines = (await kubectl("get", "projects", "-l", "tier=front")).splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "DISPLAY", "NAME", "STATUS"],
        ["shop", "The", "shop", "Active"],
    ]
    assert "tier=front" in await kubectl("describe", "project", "shop")
    assert "finalizers" in await kubectl("explain", "project.spec")
    assert "projects" in await kubectl("api-resources", "--api-group=project.openshift.io", "-o", "name")
    assert await kubectl("get", "projects", *PERSON) == ""
    assert (await kubectl("auth", "can-i", "create", "projectrequests.project.openshift.io", *PERSON)) == "yes\n"
    assert "shop" in await kubectl("get", "namespaces", "-o", "name")
    assert 'project.project.openshift.io "shop" deleted' in await kubectl("delete", "project", "shop", "--wait=false")
    assert "Terminating" in await kubectl("get", "namespace", "shop")
