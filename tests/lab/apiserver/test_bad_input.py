"""Whatever clients send: a Status that says what is wrong, at a bounded cost; never a traceback, never a hang."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lab.apiserver.clients import http_client, running
from tests.lab.apiserver.test_server import CONFIG_MAPS, config_map

from isthmus.lab.apiserver import Settings, Started
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.objects import Object, encode_json
from isthmus.lab.apiserver.rest.writing import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, patching

MEGABYTE = 1024 * 1024


def status_of(answer: httpx2.Response) -> tuple[int, str]:
    """Code and kind of an answer; its message tells nothing of our insides."""
    document = answer.json()
    assert "Traceback" not in answer.text
    assert document["message"]
    return answer.status_code, document["kind"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_huge_body_is_refused(http: httpx2.AsyncClient, *, declared: bool) -> None:
    """A body of 100 MB is a 413, whether its size is told before or found out."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * MEGABYTE

    headers = {"Content-Type": "application/json", **({"Content-Length": str(100 * MEGABYTE)} if declared else {})}
    answer = await http.post(CONFIG_MAPS, content=body(), headers=headers)
    assert status_of(answer) == (413, "Status")


DOUBLING = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(60)]
DEEPER = [{"op": "add", "path": "/data" + "/a" * number, "value": {}} for number in range(1, 900)]


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        pytest.param(JSON_PATCH, json.dumps(DOUBLING).encode(), 413, id="copies of copies"),
        pytest.param(JSON_PATCH, json.dumps(DEEPER).encode(), 422, id="deeper and deeper"),
        pytest.param(JSON_PATCH, b'[{"op":"add","path":"/x/%s","value":1}]' % (b"9" * 5000), 422, id="a huge index"),
        pytest.param(JSON_PATCH, b'[{"op":"remove","path":"/metadata"}]', 422, id="no metadata"),
        pytest.param(JSON_PATCH, b'[{"op":"test"}]', 422, id="no path"),
        pytest.param(JSON_PATCH, b"[]" * 9, 400, id="no JSON"),
        pytest.param(JSON_PATCH, b"[%s]" % b",".join([b"{}"] * 10_001), 413, id="too many operations"),
        pytest.param(MERGE_PATCH, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, id="too deep to read"),
        pytest.param(MERGE_PATCH, b'{"a":' * 200 + b"1" + b"}" * 200, 400, id="too deep"),
        pytest.param(MERGE_PATCH, b'{"data":{"a":"\xff\xfe"}}', 400, id="no UTF-8"),
        pytest.param(MERGE_PATCH, b'{"data":{"a":"\\ud800"}}', 400, id="half a character"),
        pytest.param(MERGE_PATCH, b'{"data":{"a":1e999}}', 400, id="a number out of range"),
        pytest.param(STRATEGIC_PATCH, b'{"metadata":{"finalizers":5}}', 400, id="a list that is none"),
        pytest.param(MERGE_PATCH, b'{"metadata":{"name":"../../etc"}}', 400, id="another name"),
        pytest.param(MERGE_PATCH, b'{"data":{"../../etc/passwd":"x"}}', 422, id="a key that leads out"),
        pytest.param(MERGE_PATCH, b'{"data":{"..":"x"}}', 422, id="a key that is the folder above"),
    ],
)
async def test_patch_bombs_get_a_status(http: httpx2.AsyncClient, kind: str, body: bytes, code: int) -> None:
    """A patch that can't be carried out, or not at a bounded cost, changes nothing."""
    before = (await http.post(CONFIG_MAPS, json={**config_map("a"), "data": {"x": "y"}})).json()
    answer = await http.patch(f"{CONFIG_MAPS}/a", content=body, headers={"Content-Type": kind})
    assert status_of(answer) == (code, "Status")
    assert (await http.get(f"{CONFIG_MAPS}/a")).json() == before


@pytest.mark.parametrize("name", ["..", "../a", "..%2f..%2fetc", "%2e%2e", "a%00b", "%ff%fe", "A", "x" * 300, "a\nb"])
async def test_names_that_are_none_lead_nowhere(http: httpx2.AsyncClient, name: str) -> None:
    """A name in a path is a name or not found; in a body it is refused."""
    url = httpx2.URL(f"{CONFIG_MAPS}/{name}".replace("\n", "%0A"))
    assert (await http.get(url)).status_code in (404, 200 if name == ".." else 404)
    answer = await http.post(CONFIG_MAPS, json=config_map(name))
    assert status_of(answer) == (422, "Status")


KEYS = st.sampled_from(
    (
        *("metadata", "labels", "finalizers", "data", "spec", "containers", "ports", "env", "name", "a", ""),
        *("$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)
POINTERS = st.lists(KEYS | st.sampled_from(["0", "1", "-", "01", "~0", "~"]), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": POINTERS | JSON},
    optional={"from": POINTERS, "value": JSON},
)
PATCHES = st.one_of(
    st.tuples(st.just(JSON_PATCH), st.lists(OPERATIONS, max_size=6) | JSON),
    st.tuples(st.sampled_from([MERGE_PATCH, STRATEGIC_PATCH]), st.dictionaries(KEYS, JSON, max_size=4) | JSON),
)
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "finalizers": ["x/y"]},
    "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}], "env": [{"name": "x", "value": "y"}]}]},
}


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(patch=PATCHES)
def test_any_patch_is_carried_out_or_refused(patch: tuple[str, Any]) -> None:
    """Any JSON value as a patch gives an object or a Status; again the same, and the original is as it was."""
    kind, body = patch
    change, original, given = patching(kind, body), encode_json(POD), encode_json(body)
    outcomes: list[bytes] = []
    for _ in range(2):
        try:
            outcomes.append(encode_json(change(json.loads(original))))
        except StatusError as error:
            outcomes.append(encode_json(error.status()))
    assert outcomes[0] == outcomes[1], "a patch that is carried out again does the same"
    assert encode_json(body) == given


async def connect(server: Started) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cadata=server.ca.decode())
    return await asyncio.open_connection(server.host, server.port, ssl=context)


async def sent(server: Started, data: bytes) -> bytes:
    """All that the server answers to some bytes before it ends the connection."""
    reader, writer = await connect(server)
    writer.write(data)
    answer = b""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            while more := await reader.read(MEGABYTE):
                answer += more
    writer.transport.abort()
    return answer


async def test_slow_clients_are_not_waited_for(tmp_path: Path) -> None:
    """Who sends nothing, half a head, or half a body is disconnected; a watch may be silent as long as it likes."""
    query = {"watch": "true", "resourceVersion": "1"}
    async with (
        running(Settings(tmp_path, request_within_s=0.5)) as server,
        http_client(server) as http,
        http.stream("GET", CONFIG_MAPS, params=query) as watch,
    ):
        assert await sent(server, b"") == b""
        assert await sent(server, b"GET /version HTTP/1.1\r\nHost: a\r\nX-Slow: ") == b""
        head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.admin_token}\r\n"
        answer = await sent(server, f'{head}Content-Length: 100\r\n\r\n{{"a'.encode())
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"kind":"Status"' in answer
        answer = await sent(server, b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ncode=")
        assert answer.startswith(b"HTTP/1.1 408")
        await http.post(CONFIG_MAPS, json=config_map("a"))
        async for line in watch.aiter_lines():
            if json.loads(line)["object"]["metadata"]["name"] == "a":
                break


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X-Y: %s\r\n" % (b"z" * 1000) * 100 + b"\r\n", b"431", id="headers"),
        pytest.param(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 70_000), b"431", id="path"),
        pytest.param(b"GET / HTTP/1.1\r\nX-Y: " + b"z" * MEGABYTE, b"431", id="a header without an end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * (MEGABYTE // 8), b"431", id="headers without an end"),
        pytest.param(b"GET /" + b"x" * MEGABYTE, b"431", id="a path without an end"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", b"400", id="bytes in the path"),
        pytest.param(b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"400", id="no HTTP"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", b"400", id="a negative length"),
    ],
)
async def test_heads_are_bounded(server: Started, data: bytes, code: bytes) -> None:
    """A head that is too large, or none, is answered and the connection ended."""
    assert (await sent(server, data)).split()[1] == code


async def test_after_a_refusal_nothing_more_is_answered(server: Started) -> None:
    """What follows in the same bytes is not taken for another request."""
    answer = await sent(server, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\nGET /version HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400")


WRONG_OPTIONS: dict[str, list[object]] = {
    "orphanDependents": [1, 0, "true", [], {}],
    "gracePeriodSeconds": [True, "1", 1.5, []],
    "preconditions": [True, 1, "a", [1]],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in WRONG_OPTIONS.items() for value in values], ids=str
)
async def test_options_of_another_type_are_refused(http: httpx2.AsyncClient, option: str, value: object) -> None:
    """An option of another type than it has is a 400, and nothing is deleted."""
    await http.post(CONFIG_MAPS, json=config_map("a"))
    answer = await http.request("DELETE", f"{CONFIG_MAPS}/a", json={option: value})
    assert status_of(answer) == (400, "Status")
    assert option in answer.text
    assert (await http.get(f"{CONFIG_MAPS}/a")).status_code == 200


async def test_idle_watches_cost_what_they_hold_and_no_more(tmp_path: Path) -> None:
    """Hundreds of watches of other objects are not woken by a write, and leave nothing behind when they end."""
    async with running(Settings(tmp_path)) as server, http_client(server) as http:
        version = (await http.post(CONFIG_MAPS, json=config_map("a"))).json()["metadata"]["resourceVersion"]
        head = f"Host: a\r\nAuthorization: Bearer {server.admin_token}\r\n\r\n"
        idle = [await connect(server) for _ in range(100)]
        for number, (reader, writer) in enumerate(idle):
            query = f"watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Di{number}"
            writer.write(f"GET {CONFIG_MAPS}?{query} HTTP/1.1\r\n{head}".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"200"
        for number in (7, 93):
            await http.post(CONFIG_MAPS, json=config_map(f"i{number}"))
        async with asyncio.timeout(5):
            for number in (93, 7):
                assert b'"ADDED"' in await idle[number][0].readuntil(b"}\n")
        assert not any(idle[number][0]._buffer for number in (0, 1, 99))  # type: ignore[attr-defined]  # what came
        for _, writer in idle:
            writer.transport.abort()


@pytest.mark.parametrize(("path", "field"), [("configmaps", "binaryData"), ("secrets", "data")])
@pytest.mark.parametrize(
    "value", ["a", "ab=", "\u00e9", "a\x00==", "=", "hush!", "hush=", "hush==", "YQ==YQ==", "YQ== "]
)
async def test_what_is_no_base64_is_refused(http: httpx2.AsyncClient, path: str, field: str, value: str) -> None:
    """Bytes that are none are told by their field, whatever they are written with, and not shown."""
    body = {"metadata": {"name": "a"}, field: {"k": value}}
    answer = await http.post(CONFIG_MAPS.replace("configmaps", path), json=body)
    assert status_of(answer) == (422, "Status")
    assert answer.json()["details"]["causes"][0]["field"] == f"{field}[k]"
    assert "hush" not in answer.text
