"""Enrolment at the control plane, on a lab's API server: who becomes a peer, who does not, and what stays."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from tests.pilot.red import GREEN_CLIENT, NAMESPACE, POD_IP, Red, red_cluster
from tests.pilot.test_control_plane import EGRESS, INGRESS, discovery, gateway
from tests.waiting import until

from isthmus.envoy.message import LISTENER
from isthmus.federation.enrolment import Enrolment, OpenInvitation, Phase, prove
from isthmus.federation.introduction import Introduction

pytestmark = pytest.mark.slow

KEY = bytes(range(32))
SECOND_IP = "127.79.0.11"


@dataclass
class Invited:
    """Red's cluster with an invitation of green, and green's way to it."""

    red: Red
    id: str = "0123456789abcdef" * 2
    more: dict[str, Any] = field(default_factory=dict)

    async def invite(self, name: str = "invitation-green-mesh-1", *, ttl_s: float = 900) -> None:
        """Write the Secret as ``isthmus invite`` does."""
        invitation = OpenInvitation(
            id=self.id,
            peer="green-mesh",
            expires=int(time.time() + ttl_s),
            ingress="ingress-green-mesh",
            egress="egress-green-mesh",
            key=KEY.hex(),
        )
        await self.red.apply(secret(name, msgspec.json.encode(invitation)))

    def message(self, phase: Phase, nonce: str = "a" * 32) -> bytes:
        """What green says."""
        joiner = Introduction(
            mesh="green-mesh",
            namespace="green-mesh-system",
            trust_domain="green-mesh.local",
            root=self.red.green.root_cert_pem.decode(),
            client_id=GREEN_CLIENT,
            addresses=("192.0.2.1",),
        )
        return msgspec.json.encode(Enrolment(phase=phase, nonce=nonce, joiner=joiner))

    async def ask(self, body: bytes, *, proof: str | None = None, account: str = INGRESS, ip: str = POD_IP) -> str:
        """The word that the answer has, or its status if it has none."""
        proof = prove(KEY, self.id, body) if proof is None else proof
        async with discovery(self.red, account) as client:
            client.base_url = httpx2.URL(f"https://{ip}:8188")
            answer = await client.post("/v1/enrol", content=body, headers={"authorization": proof})
        try:
            return str(answer.json()["reason"])
        except ValueError:
            return str(answer.status_code)

    async def wait_invited(self) -> None:
        """Until the control plane knows of the invitation."""

        async def is_known() -> bool:
            return await self.ask(self.message("check")) == "Checked"

        await until(is_known)

    async def everything(self) -> str:
        """Names and contents of all that an enrolment could touch."""
        kinds = "servicemeshpeers,servicemeshcontrolplanes,configmaps,secrets"
        listed = json.loads(await self.red.kubectl("get", kinds, "-o", "json"))["items"]
        return json.dumps([each for each in listed if each["kind"] != "ServiceMeshControlPlane"], sort_keys=True)


def secret(name: str, content: bytes, *, namespace: str = NAMESPACE) -> str:
    """The Secret of an invitation, as YAML."""
    metadata = {"name": name, "namespace": namespace, "labels": {"isthmus.io/invitation": "green-mesh"}}
    data = {"invitation.json": base64.b64encode(content).decode()}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


@asynccontextmanager
async def invited(folder: Path) -> AsyncIterator[Invited]:
    async with red_cluster(folder) as red, red.control_plane():
        green = Invited(red)
        await green.invite()
        await green.wait_invited()
        yield green


async def test_an_enrolled_mesh_is_a_peer(tmp_path: Path) -> None:
    """A check changes nothing; an enrolment makes the peer and its roots, once, and a deleted peer stays deleted."""
    async with invited(tmp_path) as green:
        before = await green.everything()
        assert await green.ask(green.message("check")) == "Checked"
        assert await green.everything() == before
        assert await green.ask(green.message("enrol")) == "Enrolled"
        found = json.loads(await green.red.kubectl("get", "servicemeshpeer", "green-mesh", "-o", "json"))
        assert found["spec"]["security"]["clientID"] == GREEN_CLIENT
        assert found["spec"]["remote"]["addresses"] == ["192.0.2.1"]
        root = json.loads(await green.red.kubectl("get", "configmap", "green-mesh-ca-root-cert", "-o", "json"))
        assert root["data"] == {"root-cert.pem": green.red.green.root_cert_pem.decode()}

        async def is_settled() -> bool:
            return "conditions" in await green.red.status()

        await until(is_settled)
        assert await green.ask(green.message("enrol")) == "Enrolled"
        for phase in ("check", "enrol"):
            assert await green.ask(green.message(phase, nonce="b" * 32)) == "Used"
        await green.red.kubectl("delete", "servicemeshpeer", "green-mesh")
        assert await green.ask(green.message("enrol")) == "Enrolled"
        assert "No resources found" in await green.red.kubectl("get", "servicemeshpeers")


async def test_who_is_not_welcome_changes_nothing(tmp_path: Path) -> None:
    """A wrong proof, another gateway of the mesh, a workload, and nonsense: refused, and all stays as it was.

    Nor do Secrets with the label and something else in them invite anybody.
    """
    async with invited(tmp_path) as green:
        await green.red.apply(secret("invitation-nonsense", b"{}"), secret("invitation-nothing", b""))
        before, body = await green.everything(), green.message("enrol")
        assert await green.ask(body, proof="") == "NotProven"
        assert await green.ask(body, proof=prove(bytes(32), green.id, body)) == "NotProven"
        assert await green.ask(body, proof=prove(KEY, "f" * 32, body)) == "NotProven"
        assert await green.ask(body, account=EGRESS) == "NotProven"
        assert await green.ask(body, account="default") == "NotProven"
        assert await green.ask(b"{}") == "Malformed"
        assert await green.ask(b"x" * 70_000) == "413"
        assert await green.ask(body.replace(b"green-mesh.local", b"red-mesh.local")) == "TrustDomainTaken"
        assert await green.everything() == before


async def test_one_of_many_is_accepted(tmp_path: Path) -> None:
    """Of many joiners with one token at two replicas at the same time one becomes the peer, the others are refused."""
    async with invited(tmp_path) as green, green.red.control_plane("istiod-red-mesh-1", SECOND_IP):
        bodies = [green.message("enrol", nonce=f"{number:032x}") for number in range(10)]

        async def join(number: int, body: bytes) -> str:
            while (answer := await green.ask(body, ip=(POD_IP, SECOND_IP)[number % 2])) == "503":
                await asyncio.sleep(0.05)
            return answer

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(join(number, body)) for number, body in enumerate(bodies)]
        answers = sorted(task.result() for task in asked)
        assert answers[0] == "Enrolled"
        assert set(answers[1:]) <= {"Used", "PeerExists"}


async def test_invitations_come_and_go(tmp_path: Path) -> None:
    """The ingress gateway has a listener while somebody is invited, and none when that is revoked.

    An invitation that has expired is told to who has it, and removed when clocks can no longer be the reason.
    """
    async with red_cluster(tmp_path) as red, red.control_plane(), gateway(red, INGRESS) as ingress:
        await ingress.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
        assert not (await ingress._read()).resources
        green = Invited(red)
        await green.invite()
        assert [each.name for each in (await ingress._read()).resources] == ["discovery"]
        await red.kubectl("delete", "secret", "invitation-green-mesh-1")
        assert list((await ingress._read()).removed_resources) == ["discovery"]
        await green.invite("invitation-green-mesh-late", ttl_s=-60)

        async def is_told() -> bool:
            return await green.ask(green.message("check")) == "Expired"

        await until(is_told)
        await green.invite("invitation-green-mesh-old", ttl_s=-600)

        async def are_left() -> str:
            return await red.kubectl("get", "secrets", "-l", "isthmus.io/invitation", "-o", "name")

        async def is_removed() -> bool:
            return await are_left() == "secret/invitation-green-mesh-late\n"

        await until(is_removed)
        assert await green.ask(green.message("enrol")) == "Expired"
