"""REST over HTTP: discovery, versions, the two APIs of Events, field validation, concurrency."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from tests.lab.apiserver.clients import http_client

from isthmus.lab.apiserver import Started

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
GADGETS = "/apis/example.com/v1/namespaces/default/gadgets"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
MERGE = {"Content-Type": "application/merge-patch+json"}

SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {"openAPIV3Schema": SCHEMA},
                "selectableFields": [{"jsonPath": ".spec.size"}],
            }
            for name in ("v1", "v1beta1")
        ],
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def gadget(version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"example.com/{version}", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}


@pytest.fixture
async def gadgets(http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    assert (await http.post(DEFINITIONS, json=DEFINITION)).status_code == 201
    return http


async def test_discovery_plain_and_aggregated(gadgets: httpx2.AsyncClient) -> None:
    """Both forms tell the same; the aggregated one has an ETag that spares the second reading."""
    aggregated = await gadgets.get("/apis", headers={"Accept": AGGREGATED})
    assert aggregated.headers["content-type"].endswith("as=APIGroupDiscoveryList")
    group = next(one for one in aggregated.json()["items"] if one["metadata"]["name"] == "example.com")
    assert [version["version"] for version in group["versions"]] == ["v1", "v1beta1"]
    again = await gadgets.get("/apis", headers={"Accept": AGGREGATED, "If-None-Match": aggregated.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = (await gadgets.get("/apis")).json()
    assert {one["name"] for one in plain["groups"]} == {one["metadata"]["name"] for one in aggregated.json()["items"]}
    resources = (await gadgets.get("/apis/example.com/v1")).json()["resources"]
    assert [one["name"] for one in resources] == ["gadgets"]
    await gadgets.delete(f"{DEFINITIONS}/gadgets.example.com")


async def test_openapi_has_the_schemas_of_custom_kinds(gadgets: httpx2.AsyncClient) -> None:
    """The root leads to a document by its hash, which says that fields are validated and has the schema."""
    root = (await gadgets.get("/openapi/v3")).json()
    url = root["paths"]["apis/example.com/v1"]["serverRelativeURL"]
    document = (await gadgets.get(url)).json()
    patch = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/gadgets/{name}"]["patch"]
    assert "fieldValidation" in [one["name"] for one in patch["parameters"]]
    schema = document["components"]["schemas"]["com.example.v1.Gadget"]
    assert schema["properties"]["spec"]["properties"] == {"size": {"type": "integer"}}


async def test_every_served_version_shows_the_same_object(gadgets: httpx2.AsyncClient) -> None:
    """What is written through one version is read and watched through the other, in its name."""
    beta = GADGETS.replace("/v1/", "/v1beta1/")
    created = (await gadgets.post(beta, json=gadget("v1beta1", size=1))).json()
    assert created["apiVersion"] == "example.com/v1beta1"
    assert (await gadgets.get(f"{GADGETS}/g")).json()["apiVersion"] == "example.com/v1"
    await gadgets.patch(f"{GADGETS}/g", json={"spec": {"size": 2}}, headers=MERGE)
    listed = (await gadgets.get(beta)).json()
    assert (listed["apiVersion"], listed["items"][0]["spec"]) == ("example.com/v1beta1", {"size": 2})
    assert (await gadgets.get(GADGETS, params={"fieldSelector": "spec.size=2"})).json()["items"]
    assert not (await gadgets.get(GADGETS, params={"fieldSelector": "spec.size=1"})).json()["items"]


async def test_field_validation_ignores_warns_or_refuses(gadgets: httpx2.AsyncClient) -> None:
    """Unknown fields are dropped; Warn says so in a header, Strict refuses."""
    bad = gadget(size=1, oops=True)
    strict = await gadgets.post(GADGETS, json=bad, params={"fieldValidation": "Strict"})
    assert (strict.status_code, 'unknown field "spec.oops"' in strict.json()["message"]) == (400, True)
    warned = await gadgets.post(GADGETS, json=bad, params={"fieldValidation": "Warn"})
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.oops\\""'
    assert warned.json()["spec"] == {"size": 1}
    silent = await gadgets.patch(
        f"{GADGETS}/g", json={"spec": {"x": 1}}, params={"fieldValidation": "Ignore"}, headers=MERGE
    )
    assert "warning" not in silent.headers
    assert (await gadgets.post(GADGETS, json=bad, params={"fieldValidation": "Maybe"})).status_code == 422


async def test_warnings_are_of_what_headers_may_hold(gadgets: httpx2.AsyncClient) -> None:
    """Whatever unknown fields are called, and however many there are, the answer's head stays sound and small."""
    odd = gadget(size=1) | {"a\r\nSet-Cookie: x": 1, '\x7f\u00e9"\\': 1, **{f"x{'y' * 400}{n}": 1 for n in range(40)}}
    answer = await gadgets.post(GADGETS, json=odd, params={"fieldValidation": "Warn"})
    warnings = answer.headers.get_list("warning")
    assert (answer.status_code, answer.headers.get("set-cookie")) == (201, None)
    assert '299 - "unknown field \\"a??Set-Cookie: x\\""' in warnings
    assert sum(map(len, warnings)) < 5000


async def test_a_deprecated_version_warns_with_every_answer(http: httpx2.AsyncClient) -> None:
    """The warning comes with what is found and with what is refused, and counts among all warnings."""
    deprecated = json.loads(json.dumps(DEFINITION))
    deprecated["spec"]["versions"][1] |= {"deprecated": True, "deprecationWarning": "w" * 300}
    assert (await http.post(DEFINITIONS, json=deprecated)).status_code == 201
    path, told = GADGETS.replace("v1", "v1beta1"), [f'299 - "{"w" * 256}"']
    for answer in (await http.get(path), await http.get(f"{path}/none"), await http.post(path, json=config_map("a"))):
        assert answer.headers.get_list("warning") == told, answer.text
    odd = gadget("v1beta1", size=1) | {f"{'y' * 400}{number}": 1 for number in range(40)}
    answer = await http.post(path, json=odd, params={"fieldValidation": "Warn"})
    assert answer.status_code == 201
    assert sum(map(len, answer.headers.get_list("warning"))) <= 4096
    assert "warning" not in (await http.get(GADGETS)).headers


async def test_managed_fields_without_a_time_stay_without(gadgets: httpx2.AsyncClient) -> None:
    """What clients leave out of managedFields, or set to null, is not made up: an empty time could not be read."""
    await gadgets.post(GADGETS, json=gadget(size=1))
    for operation in ({"op": "remove"}, {"op": "add", "value": None}):
        patch = [{**operation, "path": "/metadata/managedFields/0/time"}]
        answer = await gadgets.patch(
            f"{GADGETS}/g", content=json.dumps(patch), headers={"Content-Type": "application/json-patch+json"}
        )
        assert answer.status_code == 200
        assert "time" not in answer.json()["metadata"]["managedFields"][0]


async def test_custom_kinds_refuse_strategic_patches(gadgets: httpx2.AsyncClient) -> None:
    """A strategic merge patch of a custom kind is a 415 that names what is accepted."""
    await gadgets.post(GADGETS, json=gadget(size=1))
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    refused = await gadgets.patch(f"{GADGETS}/g", json={}, headers=headers)
    accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    assert refused.status_code == 415
    assert refused.json()["message"].endswith(f"accepted media types include: {accepted}")


async def test_custom_kinds_need_a_version_for_an_update(gadgets: httpx2.AsyncClient) -> None:
    """A PUT without resource version is refused for a custom kind, and with an old one it is a conflict."""
    created = (await gadgets.post(GADGETS, json=gadget(size=1))).json()
    assert (await gadgets.put(f"{GADGETS}/g", json=gadget(size=2))).status_code == 422
    created["spec"]["size"] = 2
    assert (await gadgets.put(f"{GADGETS}/g", json=created)).status_code == 200
    assert (await gadgets.put(f"{GADGETS}/g", json={**created, "spec": {"size": 3}})).status_code == 409


async def test_unsound_definitions_are_refused(http: httpx2.AsyncClient) -> None:
    """What is wrong with a definition is told by its fields."""
    bad = json.loads(json.dumps(DEFINITION))
    bad["metadata"]["name"] = "wrong"
    bad["spec"]["versions"][1]["storage"] = True
    properties = bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties |= {"spec": {"properties": {}}, "size": {"type": "string", "pattern": "(?=a)"}}
    answer = await http.post(DEFINITIONS, json=bad)
    fields = {cause["field"] for cause in answer.json()["details"]["causes"]}
    schema = "spec.versions[0].schema.openAPIV3Schema.properties"
    told = {"metadata.name", "spec.versions", f"{schema}[spec].type", f"{schema}[size].pattern"}
    assert (answer.status_code, fields) == (422, told)


async def test_a_refused_definition_leaves_the_server_at_work(http: httpx2.AsyncClient) -> None:
    """A definition that could not be served is not stored: other writes go on."""
    bad = json.loads(json.dumps(DEFINITION))
    bad["spec"]["versions"][0]["subresources"] = {"scale": {}}
    assert (await http.post(DEFINITIONS, json=bad)).status_code == 422
    assert (await http.post(CONFIG_MAPS, json=config_map("a"))).status_code == 201


async def test_events_have_two_apis(http: httpx2.AsyncClient) -> None:
    """An Event written through either API is read through both, each in its own words."""
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "one", "namespace": "default"},
        "note": "it happened",
        "reason": "Testing",
        "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test",
        "reportingInstance": "test-1",
        "action": "Test",
    }
    created = await http.post("/apis/events.k8s.io/v1/namespaces/default/events", json=event)
    assert (created.status_code, created.json()["note"]) == (201, "it happened")
    core = (
        await http.get("/api/v1/namespaces/default/events", params={"fieldSelector": "involvedObject.name=one"})
    ).json()
    assert (core["items"][0]["message"], core["items"][0]["apiVersion"]) == ("it happened", "v1")
    newer = (await http.get("/apis/events.k8s.io/v1/namespaces/default/events/e")).json()
    assert newer["regarding"]["name"] == "one"


async def test_events_are_selected_and_patched_in_their_own_words(http: httpx2.AsyncClient) -> None:
    """Selectors and patches name the fields as the API does that they are sent to."""
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "one"}, "note": "before"}
    await http.post(path, json=event)
    patched = await http.patch(
        f"{path}/e", json={"note": "after"}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert patched.json()["note"] == "after"
    assert (await http.get("/api/v1/namespaces/default/events/e")).json()["message"] == "after"
    for name, found in (("one", 1), ("two", 0)):
        chosen = await http.get(path, params={"fieldSelector": f"regarding.name={name}"})
        assert len(chosen.json()["items"]) == found


async def test_concurrent_patches_all_count(http: httpx2.AsyncClient) -> None:
    """Patches without a version are tried again until each is in; none is lost."""
    await http.post(CONFIG_MAPS, json=config_map("a"))

    async def patch(number: int) -> None:
        answer = await http.patch(f"{CONFIG_MAPS}/a", json={"data": {f"k{number}": "v"}}, headers=MERGE)
        assert answer.status_code == 200

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(patch(number))
    assert len((await http.get(f"{CONFIG_MAPS}/a")).json()["data"]) == 20


async def test_a_write_that_changes_nothing_makes_no_revision(http: httpx2.AsyncClient) -> None:
    """The same content again keeps the resource version, and watchers hear nothing."""
    first = (await http.post(CONFIG_MAPS, json=config_map("a", k="v"))).json()
    again = (await http.patch(f"{CONFIG_MAPS}/a", json={"data": {"k": "v"}}, headers=MERGE)).json()
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_generated_names_are_different(http: httpx2.AsyncClient) -> None:
    """generateName gives every object a name of its own."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}}
    names = {(await http.post(CONFIG_MAPS, json=body)).json()["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


async def test_delete_collection_takes_what_is_selected(http: httpx2.AsyncClient) -> None:
    """Only what the selector chooses goes."""
    for name in ("a", "b"):
        body = config_map(name)
        body["metadata"]["labels"] = {"name": name}
        await http.post(CONFIG_MAPS, json=body)
    await http.delete(CONFIG_MAPS, params={"labelSelector": "name=a"})
    assert [one["metadata"]["name"] for one in (await http.get(CONFIG_MAPS)).json()["items"]] == ["b"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/apis/nothing.example.com/v1/things", 404),
        ("GET", "/api/v1/things", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a/b/c", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/version", 405),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/openapi/v2", 406),
    ],
)
async def test_what_is_not_there_or_cannot_be_done(http: httpx2.AsyncClient, method: str, path: str, code: int) -> None:
    """Unknown paths are a 404, methods that a path hasn't a 405."""
    assert (await http.request(method, path, json={} if method != "GET" else None)).status_code == code


async def test_exists_and_stale_are_told_apart(http: httpx2.AsyncClient) -> None:
    """Creating twice is AlreadyExists; deleting with another version is Conflict."""
    await http.post(CONFIG_MAPS, json=config_map("a"))
    twice = (await http.post(CONFIG_MAPS, json=config_map("a"))).json()
    assert (twice["reason"], twice["message"]) == ("AlreadyExists", 'configmaps "a" already exists')
    stale = {"preconditions": {"resourceVersion": "1"}}
    assert (await http.request("DELETE", f"{CONFIG_MAPS}/a", json=stale)).json()["reason"] == "Conflict"


async def test_a_watch_from_an_old_version_is_told_so(server: Started) -> None:
    """A version before the window gets one ERROR event with code 410; a list at it gets the Status itself."""
    async with http_client(server) as http:
        first = (await http.post(CONFIG_MAPS, json=config_map("a"))).json()["metadata"]["resourceVersion"]
        large = "x" * 1_000_000
        for number in range(26):
            body = json.dumps({"data": {"k": f"{number}{large}"}})
            await http.patch(f"{CONFIG_MAPS}/a", content=body, headers=MERGE)
        answer = await http.get(CONFIG_MAPS, params={"watch": "true", "resourceVersion": first})
        event = json.loads(answer.text)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        exact = {"resourceVersion": first, "resourceVersionMatch": "Exact"}
        assert (await http.get(CONFIG_MAPS, params=exact)).status_code == 410
