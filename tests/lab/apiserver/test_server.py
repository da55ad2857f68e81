"""The running server: its start and stop, its clients' credentials, its limits, what survives."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
from blockbuster import blockbuster_ctx
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from tests.lab.apiserver.clients import Kubectl, http_client, kubectl_for, running

from isthmus.lab.apiserver import ApiServer, Settings, Started
from isthmus.lab.apiserver.errors import DatabaseUnusableError, SecretUnusableError
from isthmus.lab.pod_logs import LogRequest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_lightkube_lists_and_watches(server: Started, tmp_path: Path) -> None:
    """lightkube, as the lab's own parts use it, creates, lists, watches, patches and deletes."""
    path = tmp_path / "kubeconfig"
    await asyncio.to_thread(server.kubeconfig().write, path)
    client = AsyncClient(await asyncio.to_thread(KubeConfig.from_file, path))
    seen: list[tuple[str, str]] = []

    async def watch() -> None:
        async for event, obj in client.watch(ConfigMap, namespace="default"):
            assert obj.metadata is not None
            seen.append((event, str(obj.metadata.name)))
            if event == "DELETED":
                return

    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(watch())
            await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"k": "v"}))
            await client.patch(ConfigMap, "a", {"data": {"k": "w"}}, namespace="default")
            names = [obj.data async for obj in client.list(ConfigMap, namespace="default")]
            assert names == [{"k": "w"}]
            while ("MODIFIED", "a") not in seen and ("ADDED", "a") not in seen:
                await asyncio.sleep(0.01)
            await client.delete(ConfigMap, "a", namespace="default")
        assert seen[-1] == ("DELETED", "a")
        with pytest.raises(ApiError) as error:
            await client.get(ConfigMap, "a", namespace="default")
        assert error.value.status.message == 'configmaps "a" not found'
    finally:
        await client.close()


async def test_anonymous_gets_only_health(server: Started) -> None:
    """Without credentials there is health and version, nothing else; with bad ones there is nothing."""
    async with http_client(server, token="") as anonymous:
        assert (await anonymous.get("/readyz")).text == "ok"
        assert (await anonymous.get("/version")).status_code == 200
        refused = await anonymous.get("/api/v1/namespaces")
        why = 'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" in API group ""'
        assert (refused.status_code, refused.json()["message"]) == (403, f"{why} at the cluster scope")
        assert (await anonymous.get("/api")).status_code == 403
    async with http_client(server, token="wrong") as stranger:
        assert (await stranger.get("/readyz")).status_code == 401


async def test_the_client_certificate_alone_makes_an_administrator(server: Started, tmp_path: Path) -> None:
    """The administrator's certificate is enough; one of another CA is not accepted by TLS."""
    paths = (tmp_path / "tls.crt", tmp_path / "tls.key")
    await asyncio.to_thread(paths[0].write_bytes, server.admin_certificate.certificate)
    await asyncio.to_thread(paths[1].write_bytes, server.admin_certificate.key)
    context = ssl.create_default_context(cadata=server.ca.decode())
    context.load_cert_chain(*paths)
    async with httpx2.AsyncClient(base_url=server.url, verify=context) as client:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review)
        assert answer.json()["status"]["userInfo"]["groups"] == ["system:masters", "system:authenticated"]


async def make_token(http: httpx2.AsyncClient, body: dict[str, object]) -> httpx2.Response:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": body}
    return await http.post("/api/v1/namespaces/default/serviceaccounts/bob/token", json=request)


async def review_token(http: httpx2.AsyncClient, token: str, *audiences: str) -> dict[str, object]:
    spec = {"token": token, "audiences": list(audiences)}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status: dict[str, object] = (await http.post("/apis/authentication.k8s.io/v1/tokenreviews", json=request)).json()[
        "status"
    ]
    return status


@pytest.fixture
async def bob(http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """The administrator's client on a cluster with a service account ``bob`` and a pod ``one``."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bob"}}
    await http.post("/api/v1/namespaces/default/serviceaccounts", json=account)
    spec = {"serviceAccountName": "bob", "containers": [{"name": "main", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
    await http.post("/api/v1/namespaces/default/pods", json=pod)
    return http


async def test_tokens_hold_for_their_audience_only(bob: httpx2.AsyncClient, server: Started) -> None:
    """A token for another audience is no credential here, and a review says for whom it is good."""
    token = (await make_token(bob, {"audiences": ["istio-ca"]})).json()["status"]["token"]
    review = await review_token(bob, token, "istio-ca", "other")
    assert (review["authenticated"], review["audiences"]) == (True, ["istio-ca"])
    assert "authenticated" not in await review_token(bob, token)
    async with http_client(server, token=token) as client:
        assert (await client.get("/api")).status_code == 401


async def test_a_token_bound_to_a_pod_ends_with_it(bob: httpx2.AsyncClient) -> None:
    """A token bound to a pod names it, and is refused once the pod is gone, even if one of that name comes again."""
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "one"}
    token = (await make_token(bob, {"boundObjectRef": bound})).json()["status"]["token"]
    review = await review_token(bob, token)
    user = review["user"]
    assert isinstance(user, dict)
    assert user["username"] == "system:serviceaccount:default:bob"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["one"]
    pod = (await bob.get("/api/v1/namespaces/default/pods/one")).json()
    await bob.delete("/api/v1/namespaces/default/pods/one")
    assert "authenticated" not in await review_token(bob, token)
    fresh = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": pod["spec"]}
    await bob.post("/api/v1/namespaces/default/pods", json=fresh)
    assert "authenticated" not in await review_token(bob, token)


async def test_a_token_of_a_deleted_account_is_refused(bob: httpx2.AsyncClient, server: Started) -> None:
    """Deleting the account ends its tokens."""
    token = (await make_token(bob, {})).json()["status"]["token"]
    async with http_client(server, token=token) as client:
        assert (await client.get("/api")).status_code == 200
        await bob.delete("/api/v1/namespaces/default/serviceaccounts/bob")
        assert (await client.get("/api")).status_code == 401


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"{", 400, id="cut off"),
        pytest.param(b"\xff\xfe", 400, id="not UTF-8"),
        pytest.param(b'{"metadata":{"name":"\xff"}}', 400, id="a name that is not UTF-8"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(b'{"metadata":' + b'{"a":' * 200 + b"1" + b"}" * 201, 400, id="deeper than allowed"),
        pytest.param(b"[]", 400, id="no object"),
        pytest.param(b'{"metadata":[]}', 400, id="metadata no object"),
        pytest.param(b'{"metadata":{"name":5}}', 400, id="a name that is a number"),
        pytest.param(b'{"metadata":{"name":"a"},"data":{"k":1}}', 400, id="data that is a number"),
        pytest.param(b'{"kind":"Pod"}', 400, id="another kind"),
        pytest.param(b'{"metadata":{}}', 422, id="no name"),
        pytest.param(b'{"metadata":{"name":"A_B"}}', 422, id="bad name"),
        pytest.param(b'{"metadata":{"name":"a","labels":{"a b":"c"}}}', 422, id="bad label"),
        pytest.param(b"x" * (3 * 1024 * 1024 + 1), 413, id="too large"),
    ],
)
async def test_bad_bodies_get_a_status(http: httpx2.AsyncClient, content: bytes, code: int) -> None:
    """Whatever a body holds, the answer is a Status."""
    answer = await http.post(CONFIG_MAPS, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["kind"], answer.json()["code"]) == (code, "Status", code)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n" for before, name in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(LAUGHS, 400, id="aliases of aliases"),
        pytest.param("metadata: &m {name: a, annotations: {<<: *m}}", 400, id="an alias of itself"),
        pytest.param("a: " + "[" * 50_000, 400, id="deep"),
        pytest.param("- " * 50_000, 400, id="deep without brackets"),
        pytest.param("metadata: {name: a}\ndata: !!python/object/apply:os.system [id]", 400, id="a tag that runs"),
        pytest.param("metadata: {name: a}\ndata: {a: !!bool x}", 400, id="a value that does not fit its tag"),
        pytest.param("metadata: {name: a}\ndata: {a: !!int ''}", 400, id="a number that is empty"),
        pytest.param("metadata: {name: a}\ndata: {a: !!timestamp x}", 400, id="a time that is none"),
        pytest.param("metadata: {name: a}\n---\nmetadata: {name: b}", 400, id="two documents"),
        pytest.param("metadata: {name: a", 400, id="cut off"),
        pytest.param("metadata: {name: \x01}", 400, id="a character that may not be"),
        pytest.param("a: [" + "x," * 1_000_000 + "]", 413, id="more than is read at a time"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_bad_yaml_gets_a_status(http: httpx2.AsyncClient, method: str, content: str, code: int) -> None:
    """YAML that would grow when read, run something, or is none, is refused in either place that takes YAML."""
    kind = "application/yaml" if method == "POST" else "application/apply-patch+yaml"
    url = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/a?fieldManager=test"
    answer = await http.request(method, url, content=content.encode(), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["kind"], answer.json()["code"]) == (code, "Status", code)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=a%20b%20c",
        "labelSelector=" + "a," * 1000,
        "labelSelector=a in (",
        "fieldSelector=nothing",
        "fieldSelector=spec.x%3Dy",
        "continue=garbage",
        "limit=-1",
        "resourceVersion=abc",
        "watch=true&resourceVersion=-5",
    ],
)
async def test_bad_queries_get_a_status(http: httpx2.AsyncClient, query: str) -> None:
    """Whatever a query holds, the answer is a Status of code 400."""
    answer = await http.get(f"{CONFIG_MAPS}?{query}")
    assert (answer.status_code, answer.json()["kind"]) == (400, "Status")


async def test_pages_are_of_one_version(http: httpx2.AsyncClient) -> None:
    """A continued list shows what was there when it began, whatever has changed since."""
    for name in ("a", "b", "c", "d"):
        await http.post(CONFIG_MAPS, json=config_map(name))
    first = (await http.get(CONFIG_MAPS, params={"limit": "2"})).json()
    assert first["metadata"]["remainingItemCount"] == 2
    await http.delete(f"{CONFIG_MAPS}/c")
    await http.post(CONFIG_MAPS, json=config_map("bb"))
    second = (await http.get(CONFIG_MAPS, params={"continue": first["metadata"]["continue"]})).json()
    assert [one["metadata"]["name"] for one in second["items"]] == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = (await http.get(CONFIG_MAPS)).json()
    assert [one["metadata"]["name"] for one in third["items"]] == ["a", "b", "bb", "d"]


async def lines(http: httpx2.AsyncClient, **params: str) -> AsyncIterator[dict[str, object]]:
    query = {"watch": "true", **params}
    async with http.stream("GET", CONFIG_MAPS, params=query, timeout=10) as response:
        async for line in response.aiter_lines():
            yield json.loads(line)


async def test_a_watch_with_a_selector_sees_objects_enter_and_leave(http: httpx2.AsyncClient) -> None:
    """An object that begins to match is ADDED, one that ceases to is DELETED."""
    created = (await http.post(CONFIG_MAPS, json=config_map("a"))).json()
    for value in ("x", "y", None):
        patch = {"metadata": {"labels": {"tier": value}}}
        await http.patch(
            f"{CONFIG_MAPS}/a", content=json.dumps(patch), headers={"Content-Type": "application/merge-patch+json"}
        )
    kinds = []
    version = created["metadata"]["resourceVersion"]
    watch = lines(http, resourceVersion=version, labelSelector="tier", timeoutSeconds="1")
    kinds = [event["type"] async for event in watch]
    assert kinds == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_streamed_list_ends_with_a_bookmark(http: httpx2.AsyncClient) -> None:
    """With sendInitialEvents a watch begins with everything and a bookmark that says so."""
    await http.post(CONFIG_MAPS, json=config_map("a"))
    watch = lines(
        http,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        timeoutSeconds="1",
    )
    events = [event async for event in watch]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    bookmark = events[1]["object"]
    assert isinstance(bookmark, dict)
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    refused = await http.get(CONFIG_MAPS, params={"watch": "true", "sendInitialEvents": "true"})
    assert refused.status_code == 422


async def test_a_restart_agrees_with_what_was(tmp_path: Path) -> None:
    """Objects, versions, credentials, Service addresses and watches go on after a restart."""
    settings = Settings(tmp_path / "data")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
    async with running(settings) as server, http_client(server) as http:
        first = (await http.post("/api/v1/namespaces/default/services", json=service)).json()
        version = (await http.post(CONFIG_MAPS, json=config_map("a"))).json()["metadata"]["resourceVersion"]
        await http.post(CONFIG_MAPS, json=config_map("b"))
        token, ca = server.admin_token, server.ca
    async with running(settings) as server, http_client(server) as http:
        assert (server.admin_token, server.ca) == (token, ca)
        service["metadata"] = {"name": "b"}
        second = (await http.post("/api/v1/namespaces/default/services", json=service)).json()
        assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
        events = [event async for event in lines(http, resourceVersion=version, timeoutSeconds="1")]
        assert [event["type"] for event in events] == ["ADDED"]


async def refused_start(settings: Settings, error: type[Exception] = DatabaseUnusableError) -> None:
    """Start a server that must fail; whoever waits for it is told as well."""
    started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    try:
        await ApiServer(settings).run(started)
    finally:
        assert isinstance(started.exception(), error)


async def test_a_second_server_is_refused(server: Started, tmp_path: Path) -> None:
    """A data directory serves one server at a time."""
    del server
    with pytest.raises(DatabaseUnusableError, match="another API server is using it"):
        await refused_start(Settings(tmp_path / "data"))


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database is not touched, and the error says what to do."""
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(DatabaseUnusableError, match="restore its backup or move it away"):
        await refused_start(Settings(tmp_path))
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"], ids=["empty", "blank", "no text"])
@pytest.mark.parametrize("name", ["admin.token", "kubeadmin.password", "sa.key", "ca.key", "ca.crt"])
async def test_an_unusable_secret_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A password or key that is none never lets anybody in: the server says which file it is and what to do."""
    settings = Settings(tmp_path)
    async with running(settings):
        pass
    path = tmp_path / "pki" / name
    path.write_bytes(content)
    with pytest.raises(SecretUnusableError, match=f"Reading '{path}': expected .* or delete it"):
        await refused_start(settings, SecretUnusableError)
    assert path.read_bytes() == content
    path.unlink()
    async with running(settings) as server, http_client(server) as http:
        assert (await http.get(CONFIG_MAPS)).status_code == 200


async def test_a_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    """Certificate and key of the authority must belong together, or nobody could verify what it signs."""
    for name in ("one", "other"):
        async with running(Settings(tmp_path / name)):
            pass
    key = (tmp_path / "other" / "pki" / "ca.key").rename(tmp_path / "one" / "pki" / "ca.key")
    with pytest.raises(SecretUnusableError, match=f"Reading '{key}': expected the key of the certificate in ca.crt"):
        await refused_start(Settings(tmp_path / "one"), SecretUnusableError)
    key.unlink()
    async with running(Settings(tmp_path / "one")) as server, http_client(server) as http:
        assert (await http.get(CONFIG_MAPS)).status_code == 200


async def test_stopping_ends_open_watches_at_once(tmp_path: Path) -> None:
    """A cancelled server ends its watches cleanly and is gone within a second."""
    ended = asyncio.Event()

    async def watch(server: Started, begun: asyncio.Event) -> None:
        async with http_client(server) as http:
            async for _ in lines(http):
                begun.set()
        ended.set()

    async with asyncio.TaskGroup() as group:
        async with running(Settings(tmp_path)) as server, http_client(server) as http:
            await http.post(CONFIG_MAPS, json=config_map("a"))
            begun = asyncio.Event()
            task = group.create_task(watch(server, begun))
            await begun.wait()
            stopped = time.monotonic()
        async with asyncio.timeout(1):
            await task
        assert ended.is_set()
        assert time.monotonic() - stopped < 1


class Lines:
    """Logs of pods: two lines, and with ``follow`` no end."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.asked: list[LogRequest] = []

    async def open(self, wanted: LogRequest) -> AsyncIterator[bytes]:
        self.asked.append(wanted)
        if wanted.previous:
            raise LookupError("previous terminated container main in pod one not found")
        return self._lines(follow=wanted.follow)

    async def _lines(self, *, follow: bool) -> AsyncIterator[bytes]:
        try:
            yield b"first\n"
            yield b"second\n"
            if follow:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one", "labels": {"app": "web"}},
    "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "x"}]},
}


async def test_logs_are_those_of_the_port(tmp_path: Path) -> None:
    """The log of a container comes from the port, with the client's options; what the port refuses is a 400."""
    logs = Lines()
    async with running(Settings(tmp_path), logs=logs) as server, http_client(server) as http:
        uid = (await http.post("/api/v1/namespaces/default/pods", json=POD)).json()["metadata"]["uid"]
        before = datetime.now(UTC)
        url = "/api/v1/namespaces/default/pods/one/log"
        answer = await http.get(url, params={"tailLines": "5", "sinceSeconds": "60", "limitBytes": "9"})
        assert (answer.text, answer.headers["content-type"]) == ("first\nsec", "text/plain")
        (asked,) = logs.asked
        assert asked.since is not None
        assert before <= asked.since + timedelta(seconds=60) <= datetime.now(UTC)
        wanted = LogRequest(namespace="default", pod="one", uid=uid, container="main", tail_lines=5)
        assert replace(asked, since=None) == wanted
        refused = await http.get(url, params={"previous": "true"})
        assert (refused.status_code, refused.json()["message"][:8]) == (400, "previous")
        unknown = await http.get(url, params={"container": "other"})
        assert unknown.json()["message"] == "container other is not valid for pod one"


async def test_a_followed_log_is_closed_when_its_reader_leaves(tmp_path: Path) -> None:
    """A client that goes away stops the port's iterator; so does the end of the server."""
    logs = Lines()
    async with running(Settings(tmp_path), logs=logs) as server, http_client(server) as http:
        await http.post("/api/v1/namespaces/default/pods", json=POD)
        url = "/api/v1/namespaces/default/pods/one/log?follow=true"
        async with http.stream("GET", url) as response:
            async for line in response.aiter_lines():
                assert line == "first"
                break
        async with asyncio.timeout(5):
            await logs.closed.wait()


@pytest.mark.kubectl
@pytest.mark.slow
async def test_kubectl_follows_the_logs_of_a_deployment(tmp_path: Path) -> None:
    """``kubectl logs deploy/web -f`` finds the pod by the Deployment's selector and streams."""
    async with running(Settings(tmp_path / "data"), logs=Lines()) as server, http_client(server) as http:
        kubectl: Kubectl = await kubectl_for(server, tmp_path)
        await kubectl("create", "deployment", "web", "--image=x")
        await http.post("/api/v1/namespaces/default/pods", json=POD)
        process = await kubectl.start("logs", "deploy/web", "-f")
        assert process.stdout is not None
        async with asyncio.timeout(10):
            assert await process.stdout.readline() == b"first\n"
            process.terminate()
            await process.communicate()


async def test_pods_on_a_node_are_deleted_by_their_node(http: httpx2.AsyncClient) -> None:
    """A bound pod is marked with its grace first; deleting it with none removes it."""
    await http.post("/api/v1/namespaces/default/pods", json=POD)
    url = "/api/v1/namespaces/default/pods/one"
    marked = (await http.delete(url)).json()
    assert (marked["kind"], marked["metadata"]["deletionGracePeriodSeconds"]) == ("Pod", 30)
    assert (await http.get(url)).status_code == 200
    stale = {"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}
    assert (await http.request("DELETE", url, json=stale)).status_code == 409
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": marked["metadata"]["uid"]}}
    assert (await http.request("DELETE", url, json=options)).json()["status"] == "Success"
    assert (await http.get(url)).status_code == 404


async def test_nothing_blocks_the_loop(tmp_path: Path) -> None:
    """Start, writes, reads, watches and stop never block the event loop."""
    with blockbuster_ctx("isthmus.lab.apiserver"):
        async with running(Settings(tmp_path)) as server, http_client(server) as http:
            for name in ("a", "b"):
                await http.post(CONFIG_MAPS, json=config_map(name))
            await http.delete(f"{CONFIG_MAPS}/a")
            assert len((await http.get(CONFIG_MAPS)).json()["items"]) == 1
