"""A join at an inviter that answers as it is told to, in a cluster that is a real API server: what is left of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.discovery.test_enrolling import Gateway, gateway
from tests.federation.meshes import introduction
from tests.kube.lab import Lab, lab
from tests.waiting import until

from isthmus.api import ServiceMeshPeer
from isthmus.api.crds import crds
from isthmus.doctor.inviting import Home, Joiner, Refused, Unfinished, at_home
from isthmus.federation.enrolment import parse_enrolment
from isthmus.federation.invitation import Token
from isthmus.kube.errors import AlreadyExists, Unavailable

pytestmark = pytest.mark.slow

CHECKED = b'{"reason":"Checked"}'
ENROLLED = b'{"reason":"Enrolled"}'
USED = b'{"reason":"Used","message":"once"}'
KINDS = "smcp,smp,configmaps,secrets"
ADDRESSES = [{"ip": "127.9.9.9", "hostname": "ingress.green.test"}]


@dataclass
class Green:
    """The joiner's cluster; its gateways come up by themselves, since nothing runs there."""

    lab: Lab
    home: Home
    inviter: Gateway
    said: list[str]

    def joiner(self, token: Token) -> Joiner:
        return Joiner(self.home, token, progress=self.said.append)

    async def join(self, token: Token) -> None:
        await self.joiner(token).join(addresses=(), service_type=None, timeout_s=5)

    async def has(self) -> str:
        """Everything that a join makes."""
        _, listed = await self.lab.kubectl("-n", "green-mesh-system", "get", KINDS, "-o", "json")
        found = [(each["kind"], each["metadata"]["name"], each.get("spec")) for each in json.loads(listed)["items"]]
        return json.dumps(found, sort_keys=True)

    async def set_status(self, kind: str, status: dict[str, Any]) -> None:
        """Set the status of the ingress gateway's object of that kind."""
        patch = json.dumps({"status": status})
        command = ["patch", kind, "ingress-red-mesh", "--subresource=status", "--type=merge", "-p", patch]
        code, output = await self.lab.kubectl("-n", "green-mesh-system", *command)
        assert code == 0, output

    async def balance(self, addresses: list[dict[str, str]]) -> None:
        """Let the ingress gateway's load balancer have these addresses."""
        await self.set_status("service", {"loadBalancer": {"ingress": addresses or None}})

    def messages(self) -> list[bytes]:
        """What the inviter was told, each as it came."""
        return [head.partition(b"\r\n\r\n")[2] for head in self.inviter.heard]


def _documents() -> str:
    metadata = {"name": "green-mesh", "namespace": "green-mesh-system"}
    ingress = {"name": "ingress-red-mesh", "namespace": "green-mesh-system"}
    root = {"root-cert.pem": introduction("green", "red").root}
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    ports = [{"name": "tls", "port": 15443}, {"name": "discovery", "port": 8188}]
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "green-mesh-system"}},
        {
            "apiVersion": "maistra.io/v2",
            "kind": "ServiceMeshControlPlane",
            "metadata": metadata,
            "spec": {"security": {"trust": {"domain": "green.local"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "name": "istio-ca-root-cert"},
            "data": root,
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": ingress, "spec": {"type": "LoadBalancer", "ports": ports}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": ingress,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
    ]
    return "\n---\n".join(map(json.dumps, documents))


@asynccontextmanager
async def green(folder: Path) -> AsyncIterator[Green]:
    async with lab(folder) as cluster, gateway(folder) as inviter:
        await cluster.create("\n---\n".join(map(json.dumps, crds())))
        await cluster.create(_documents())
        async with at_home("red-mesh", kubeconfig=cluster.kubeconfig) as home:
            built = Green(cluster, home, inviter, [])
            await built.set_status("deployment", {"replicas": 1, "readyReplicas": 1})
            await built.balance(ADDRESSES)
            await home.refresh()
            yield built


async def test_a_join_makes_our_side_before_it_enrols(tmp_path: Path) -> None:
    """The inviter is asked, our side is made, and the inviter is told all of it: the same bytes until it answers."""
    async with green(tmp_path) as joining:
        joining.inviter.answers(CHECKED, None, b"busy", ENROLLED)
        await joining.join(joining.inviter.token())
        asked, *enrolments = joining.messages()
        assert len(enrolments) == 3
        assert len(set(enrolments)) == 1
        first, second = parse_enrolment(asked), parse_enrolment(enrolments[0])
        assert (first.phase, second.phase) == ("check", "enrol")
        assert first.nonce == second.nonce
        assert first.joiner.addresses == ()
        assert second.joiner.addresses == ("ingress.green.test",)
        has = await joining.has()
        for made in ('"ServiceMeshPeer", "red-mesh"', '"ConfigMap", "red-mesh-ca-root-cert"', "egress-red-mesh"):
            assert made in has


async def test_a_refusal_leaves_what_was_there(tmp_path: Path) -> None:
    """Whether it comes at first or in the end; roots that somebody has given before are used, and not taken back."""
    async with green(tmp_path) as joining:
        before, token = await joining.has(), joining.inviter.token()
        for answers in ((USED,), (CHECKED, USED)):
            joining.inviter.answers(*answers)
            with pytest.raises(Refused, match=r"red-mesh refuses \(Used\)"):
                await joining.join(token)
            assert await joining.has() == before
            await joining.home.refresh()
        roots = token.invitation.inviter.roots(name="red-mesh", namespace="green-mesh-system")
        await joining.home.client.api.create(roots)
        await joining.home.refresh()
        before = await joining.has()
        joining.inviter.answers(CHECKED, USED)
        with pytest.raises(Refused):
            await joining.join(token)
        assert await joining.has() == before


async def test_without_an_address_the_gateways_stay(tmp_path: Path) -> None:
    """A load balancer that takes its time is not begun anew: the same command goes on."""
    async with green(tmp_path) as joining:
        await joining.balance([])
        joining.inviter.answers(CHECKED)
        token = joining.inviter.token()
        with pytest.raises(Unfinished, match="has no address yet; its gateways stay"):
            await joining.joiner(token).join(addresses=(), service_type=None, timeout_s=0.3)
        assert "egress-red-mesh" in await joining.has()
        assert "ServiceMeshPeer" not in await joining.has()
        joining.inviter.answers(CHECKED, ENROLLED)
        await joining.home.refresh()
        await joining.joiner(token).join(addresses=["mesh.example.com"], service_type=None, timeout_s=5)
        assert parse_enrolment(joining.messages()[-1]).joiner.addresses == ("mesh.example.com",)


async def test_our_own_mesh_is_asked_first(tmp_path: Path) -> None:
    """A token for another mesh, and a trust domain that is taken, are refused without a word to the inviter."""
    async with green(tmp_path) as joining:
        token = joining.inviter.token()
        other = replace(token, invitation=msgspec.structs.replace(token.invitation, peer="blue-mesh"))
        with pytest.raises(Refused, match="it invites blue-mesh, not green-mesh"):
            await joining.join(other)
        blue = msgspec.structs.replace(
            introduction("blue", "green"), trust_domain=token.invitation.inviter.trust_domain
        )
        taken = blue.peer(name="blue-mesh", namespace="green-mesh-system", ingress="in", egress="out")
        await joining.home.client.api.create(taken)
        await joining.home.refresh()
        with pytest.raises(Refused, match="ServiceMeshPeer blue-mesh has the trust domain"):
            await joining.join(token)
        assert joining.messages() == []


@asynccontextmanager
async def cutting(port: int, is_due: Callable[[], Awaitable[bool]]) -> AsyncIterator[int]:
    """A way to the port, which is cut once, at the first answer that comes when ``is_due``; gives its own port."""
    is_cut = False

    async def serve(near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", port)

        async def answer() -> None:
            nonlocal is_cut
            while data := await far_reader.read(65536):
                if not is_cut and await is_due():
                    is_cut = True
                    return
                near.write(data)
                await near.drain()

        async def ask() -> None:
            while data := await near_reader.read(65536):
                far.write(data)
                await far.drain()

        both = [asyncio.create_task(answer()), asyncio.create_task(ask())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            near.transport.abort()
            far.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    assert is_cut


@pytest.mark.parametrize(
    ("resource", "name"), [("configmap", "red-mesh-ca-root-cert"), ("servicemeshpeer", "red-mesh")]
)
async def test_an_answer_that_is_lost_leaves_nothing(tmp_path: Path, resource: str, name: str) -> None:
    """What was made, though nobody heard of it, is taken back with the rest."""
    async with green(tmp_path) as joining:

        async def is_made() -> bool:
            code, _ = await joining.lab.kubectl("-n", "green-mesh-system", "get", resource, name)
            return code == 0

        before = await joining.has()
        async with cutting(joining.lab.port, is_made) as port:
            kubeconfig = tmp_path / "cut"
            text = joining.lab.kubeconfig.read_text()
            kubeconfig.write_text(text.replace(f":{joining.lab.port}", f":{port}"))
            async with at_home("red-mesh", kubeconfig=kubeconfig) as home:
                joining.inviter.answers(CHECKED)
                with pytest.raises(Unavailable, match=f"cannot create .* green-mesh-system/{name}"):
                    await replace(joining, home=home).join(joining.inviter.token())
        assert await joining.has() == before


async def test_what_others_have_made_meanwhile_stays(tmp_path: Path) -> None:
    """Who was quicker keeps what they made, and the rest is taken back."""
    async with green(tmp_path) as joining:
        inviter, api = joining.inviter.token().invitation.inviter, joining.home.client.api
        theirs = inviter.peer(name="red-mesh", namespace="green-mesh-system", ingress="in", egress="out")
        before = await joining.has()
        await joining.balance([])
        joining.inviter.answers(CHECKED)
        join = asyncio.create_task(joining.join(joining.inviter.token()))
        await until(lambda: joining.said == ["red-mesh would consent"])
        await api.create(theirs)
        await joining.balance(ADDRESSES)
        with pytest.raises(AlreadyExists):
            await join
        await api.delete(ServiceMeshPeer, "red-mesh", namespace="green-mesh-system")
        assert await joining.has() == before
