"""The requests of ``oc login``, as recorded, one after the other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.lab.apiserver.clients import http_client, running

from isthmus.lab.apiserver import Settings, Started
from isthmus.lab.apiserver.rest.oauth import FORM_LIMIT

CSRF = {"X-Csrf-Token": "1"}
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CLIENT = ("openshift-challenging-client", "")
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
EMPTY_REVIEW = b"k8s\0\n-\n\x18authentication.k8s.io/v1\x12\x11SelfSubjectReview\x12\0\x1a\0\x22\0"


@pytest.fixture
async def password(server: Started, tmp_path: Path) -> str:
    """The password of the one user who has one."""
    path = tmp_path / "data/pki/kubeadmin.password"
    assert (await asyncio.to_thread(path.stat)).st_mode & 0o777 == 0o600
    return await asyncio.to_thread(path.read_text)


async def begin(http: httpx2.AsyncClient, **more: str) -> tuple[str, dict[str, str]]:
    """Where to ask for a code, and with which parameters."""
    found = (await http.get("/.well-known/oauth-authorization-server", headers=CSRF)).json()
    assert "S256" in found["code_challenge_methods_supported"]
    assert found["token_endpoint"] == f"{found['issuer']}/oauth/token"
    return found["authorization_endpoint"], {
        "client_id": CLIENT[0],
        "response_type": "code",
        "redirect_uri": f"{found['issuer']}/oauth/token/implicit",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **more,
    }


async def code_for(http: httpx2.AsyncClient, password: str) -> dict[str, str]:
    """What is to be sent for a token."""
    url, params = await begin(http)
    answer = await http.get(url, params=params, headers=CSRF, auth=("kubeadmin", password))
    assert answer.status_code == 302
    redirect = urlsplit(answer.headers["location"])
    [code] = parse_qs(redirect.query)["code"]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    return {**form, "redirect_uri": params["redirect_uri"]}


async def review(server: Started, token: str) -> httpx2.Response:
    """Who a token is for, as oc asks it: in protobuf."""
    protobuf = "application/vnd.kubernetes.protobuf"
    headers = {"Content-Type": protobuf, "Accept": f"{protobuf},application/json"}
    async with http_client(server, token=token) as client:
        return await client.post(REVIEWS, content=EMPTY_REVIEW, headers=headers)


async def test_login_with_a_password(server: Started, password: str, tmp_path: Path) -> None:
    """Challenge, code, token, and the token is an administrator's, also after a restart."""
    async with http_client(server, token="") as http:
        assert "text/html" not in (await http.head("/")).headers["content-type"]
        url, params = await begin(http)
        challenged = await http.get(url, params=params, headers=CSRF)
        assert (challenged.status_code, challenged.headers["www-authenticate"]) == (401, 'Basic realm="lab"')
        answer = await http.post("/oauth/token", data=await code_for(http, password), auth=CLIENT)
        assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")
        assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["access_token"]
    who = await review(server, token)
    assert (who.status_code, who.json()["status"]["userInfo"]["username"]) == (201, "kube:admin")
    async with http_client(server, token=token) as admin:
        projects = (await admin.get("/apis/project.openshift.io/v1/projects")).json()
        assert (projects["kind"], projects["items"][0]["metadata"]["name"]) == ("ProjectList", "default")
        assert (await admin.get("/apis/project.openshift.io/v1/projects/default")).status_code == 200
        assert (await admin.get("/api/v1/namespaces/openshift/configmaps/motd")).status_code == 404
        assert (await admin.get("/api/v1/secrets")).status_code == 200


async def test_a_token_outlives_the_server(tmp_path: Path) -> None:
    """A token is good after a restart too, and is not after its password was changed."""
    settings = Settings(tmp_path / "again")
    path = tmp_path / "again/pki/kubeadmin.password"
    async with running(settings) as first, http_client(first, token="") as http:
        form = await code_for(http, await asyncio.to_thread(path.read_text))
        token = (await http.post("/oauth/token", data=form, auth=CLIENT)).json()["access_token"]
    async with running(settings) as second:
        assert (await review(second, token)).status_code == 201
    await asyncio.to_thread(path.write_text, "another\n")
    async with running(settings) as third:
        assert (await review(third, token)).status_code == 401


async def test_login_with_a_token(server: Started) -> None:
    """``oc login --token`` needs one review; a bad token is refused on each way that oc tries."""
    assert (await review(server, server.admin_token)).status_code == 201
    for bad in ("wrong", "login~99999999999." + "A" * 43):
        assert (await review(server, bad)).status_code == 401
        async with http_client(server, token=bad) as stranger:
            assert (await stranger.get("/apis/user.openshift.io/v1/users/~")).status_code == 401


async def test_codes_are_good_once_and_for_their_owner(server: Started, password: str) -> None:
    """A code is used up by its first use, needs its verifier, its client and its redirection."""
    async with http_client(server, token="") as http:
        form = await code_for(http, password)
        assert (await http.post("/oauth/token", data=form, auth=("other", ""))).status_code == 401
        assert (await http.post("/oauth/token", data=form, auth=CLIENT)).status_code == 200
        assert (await http.post("/oauth/token", data=form, auth=CLIENT)).json() == {"error": "invalid_grant"}
        for wrong in ({"code_verifier": "w" * 43}, {"redirect_uri": "https://evil.example"}, {"code": "x"}):
            form = {**await code_for(http, password), **wrong}
            assert (await http.post("/oauth/token", data=form, auth=CLIENT)).json() == {"error": "invalid_grant"}


async def test_what_a_login_refuses(server: Started, password: str) -> None:
    """Wrong passwords, foreign redirections, no PKCE, no header against forgery, long forms: never a code."""
    async with http_client(server, token="") as http:
        url, params = await begin(http)
        for name, given in (("kubeadmin", "x"), ("root", password), ("kubeadmin", "")):
            assert (await http.get(url, params=params, headers=CSRF, auth=(name, given))).status_code == 401
        right = ("kubeadmin", password)
        assert (await http.get(url, params=params, auth=right)).status_code == 401
        padded = base64.b64encode(f"kubeadmin:{password}".encode()).decode() + "="
        for broken in ("!", padded):
            headers = {**CSRF, "Authorization": f"Basic {broken}"}
            assert (await http.get(url, params=params, headers=headers)).status_code == 401
        for name, value in (
            ("redirect_uri", "https://evil.example/oauth/token/implicit"),
            ("client_id", "console"),
            ("code_challenge_method", "plain"),
            ("code_challenge", "short"),
        ):
            answer = await http.get(url, params={**params, name: value}, headers=CSRF, auth=right)
            assert answer.status_code == 400, name
        long = await http.post("/oauth/token", data={"code": "x" * FORM_LIMIT}, auth=CLIENT)
        many = await http.post("/oauth/token", content="a=b&" * 40, auth=CLIENT)
        assert (long.status_code, many.status_code) == (413, 400)
        assert (await http.post(url, params=params)).status_code == 405
