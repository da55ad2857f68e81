"""Patches of every kind, made up from the schema of what they change: a Status, or an object that the schema allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st
from schemathesis import GenerationMode, openapi
from tests.lab.apiserver.fuzz.asking import EXAMPLES, SEED, Api, Operation, bounded, operations
from tests.lab.apiserver.fuzz.objects import prepare
from tests.lab.apiserver.fuzz.steer import steered

from isthmus.lab.apiserver.rest.writing import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

pytestmark = pytest.mark.slow

Json = Any
ANSWER_LIMIT = 4 * 1024 * 1024
PATCHED = (
    ("apis/fuzz.example.com/v1", "namespaces/{namespace}/things/{name}"),
    ("apis/fuzz.example.com/v1", "namespaces/{namespace}/things/{name}/status"),
    ("apis/fuzz.example.com/v1", "namespaces/{namespace}/things/{name}/scale"),
    ("apis/apps/v1", "namespaces/{namespace}/deployments/{name}"),
    ("apis/networking.k8s.io/v1", "namespaces/{namespace}/networkpolicies/{name}"),
    ("apis/events.k8s.io/v1", "namespaces/{namespace}/events/{name}"),
    ("api/v1", "namespaces/{namespace}/services/{name}"),
    ("api/v1", "namespaces/{namespace}/configmaps/{name}"),
    ("apis/project.openshift.io/v1", "projects/{name}"),
)


def pointers(value: Json, above: str = "") -> list[str]:
    """Where things are in a value, as JSON pointers."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths = [(f"{above}/{str(name).replace('~', '~0').replace('/', '~1')}", one) for name, one in below]
    return [above, *(found for path, one in paths for found in pointers(one, path))]


@st.composite
def patches(draw: st.DrawFn, body: Json, stored: Json) -> tuple[str, Json]:
    """A patch that has to do with a body, or with what is stored: its media type, and what it says."""
    kind = draw(st.sampled_from((MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH, JSON_PATCH)))
    if kind != JSON_PATCH:
        return kind, draw(st.sampled_from((body, nulled(body, draw))))
    places = [f"{one}{more}" for one in pointers(stored) for more in ("", "/-", "/0", "/x")]
    place = st.sampled_from(places)
    name = st.sampled_from(("add", "replace", "remove", "move", "copy", "test"))
    value = st.sampled_from((body, None, 1, "text", [], {}))
    operation = st.fixed_dictionaries({"op": name, "path": place, "from": place, "value": value})
    return kind, draw(st.lists(operation, min_size=1, max_size=4))


def nulled(body: Json, draw: st.DrawFn) -> Json:
    """The same without some of its fields: null removes."""
    if not isinstance(body, dict):
        return body
    return {name: None if draw(st.booleans()) else nulled(one, draw) for name, one in body.items()}


def _about(body: Json) -> Json:
    """A body that is of the object that it is for, so that it is not refused for being of another."""
    if not isinstance(body, dict):
        return {"metadata": body if isinstance(body, list | str) else None}
    if not isinstance(body.get("metadata"), dict):
        return body
    of_another = ("name", "uid", "resourceVersion", "managedFields")
    return {**body, "metadata": {name: one for name, one in body["metadata"].items() if name not in of_another}}


@pytest.mark.timeout(60 * EXAMPLES)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["formed", "broken"])
@pytest.mark.parametrize(("version", "path"), PATCHED, ids=[path.split("}/")[-1] for _, path in PATCHED])
def test_any_patch_is_carried_out_or_refused(api: Api, version: str, path: str, mode: GenerationMode) -> None:
    """What a patch leaves is as the schema says; what would not be is refused."""
    document = api.document(version)
    place = f"/{version}/{path}"
    put = next(one for one in operations(steered(document)) if (one.path, one.method) == (place, "put"))
    _try(put, openapi.from_dict(document)[place]["PATCH"], api, mode)


def _try(put: Operation, declared: Operation, api: Api, mode: GenerationMode) -> None:
    version = put.path.strip("/").partition("/namespaces/")[0].removesuffix("/projects/{name}")
    url = put.path.format(namespace="default", name="a")
    query = {"fieldManager": "fuzz", "force": "true"}
    prepare(api.http, of=version)
    stored = api.http.get(url).json()  # once: what is made up must not depend on what came before

    @bounded(3 * EXAMPLES)
    @seed(SEED)
    @given(st.data())
    def patch(data: st.DataObject) -> None:
        prepare(api.http, of=version)
        body = _about(data.draw(put.as_strategy(generation_mode=mode)).body)
        kind, said = data.draw(patches(body, stored))
        answer = api.http.patch(url, json=said, headers={"Content-Type": kind}, params=query)
        assert answer.status_code < 500, answer.text
        assert len(answer.content) < ANSWER_LIMIT
        declared.validate_response(answer)

    patch()
