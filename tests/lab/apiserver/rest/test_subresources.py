"""Subresources that speak a kind of their own."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.lab.apiserver.definitions import definition

from isthmus.lab.apiserver.rest.writing import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SCALE = f"{DEPLOYMENTS}/a/scale"
LABELS = {"app": "a"}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRON_TABS = definition(
    {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    group="stable.example.com",
    kind="CronTab",
    subresources={"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
)


@pytest.fixture
async def deployed(http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    assert (await http.post(DEPLOYMENTS, json=DEPLOYMENT)).status_code == 201
    return http


async def test_a_scale_is_replaced_by_a_scale(deployed: httpx2.AsyncClient) -> None:
    """Another kind is refused, though it has replicas too; what names no kind is a Scale."""
    answer = await deployed.put(SCALE, json={**DEPLOYMENT, "spec": {"replicas": 5}})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    assert "autoscaling/v1" in answer.json()["message"]
    wrong = {**(await deployed.get(SCALE)).json(), "kind": "Deployment"}
    assert (await deployed.put(SCALE, json=wrong)).status_code == 400
    answer = await deployed.put(SCALE, json={"metadata": {"name": "a"}, "spec": {"replicas": 3}})
    assert (answer.status_code, answer.json()["spec"]) == (200, {"replicas": 3})


async def test_a_scale_takes_the_patches_that_it_says(deployed: httpx2.AsyncClient) -> None:
    """Those in the OpenAPI document and in the refusal of another are those that are carried out."""
    document = (await deployed.get("/openapi/v3/apis/apps/v1")).json()
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    assert set(document["paths"][path]["patch"]["requestBody"]["content"]) == {JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH}
    merge = '{"spec": {"replicas": 4}}'
    replace = '[{"op": "replace", "path": "/spec/replicas", "value": 4}]'
    for kind, body in ((JSON_PATCH, replace), (MERGE_PATCH, merge), (STRATEGIC_PATCH, merge)):
        answer = await deployed.patch(SCALE, content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["spec"]) == (200, {"replicas": 4})
    answer = await deployed.patch(SCALE, content=merge, headers={"Content-Type": APPLY_PATCH})
    assert answer.status_code == 415
    assert all(kind in answer.json()["message"] for kind in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH))


async def test_the_scale_of_a_custom_kind_takes_no_strategic_patch(http: httpx2.AsyncClient) -> None:
    """No operation on its paths says so, by which kubectl chooses how it applies; its scale is said to be a Scale."""
    assert (await http.post(DEFINITIONS, json=CRON_TABS)).status_code == 201
    paths = (await http.get("/openapi/v3/apis/stable.example.com/v1")).json()["paths"]
    patches = [item["patch"] for item in paths.values() if "patch" in item]
    assert all(STRATEGIC_PATCH not in each["requestBody"]["content"] for each in patches)
    assert {each["x-kubernetes-group-version-kind"]["kind"] for each in patches} == {"CronTab", "Scale"}


async def test_a_token_is_asked_for_by_a_token_request(http: httpx2.AsyncClient) -> None:
    """Another kind is refused; what names no kind is a TokenRequest."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bob"}}
    assert (await http.post(accounts, json=account)).status_code == 201
    answer = await http.post(f"{accounts}/bob/token", json=account)
    assert answer.status_code == 400
    assert "authentication.k8s.io/v1" in answer.json()["message"]
    assert (await http.post(f"{accounts}/bob/token", json={"spec": {}})).status_code == 201
