"""How expired invitations are removed from a lab's API server, by who may remove some of them only."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import yaml
from lightkube.resources.core_v1 import Secret
from tests.kube.lab import Lab, connected
from tests.pilot.test_enrolment import secret
from tests.waiting import until

from isthmus.federation.enrolment import OpenInvitation
from isthmus.federation.invitation import LABEL
from isthmus.kube import Client, Reflector, Selection, Store, connect
from isthmus.pilot.invitations import Invitations

pytestmark = pytest.mark.slow
REMOVER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "remover", "namespace": "default"},
    "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"], "resourceNames": ["invitation-2"]},
    ],
}


def expired(name: str) -> str:
    """An invitation that was over ten minutes ago, as YAML."""
    invitation = OpenInvitation(
        id="0123456789abcdef" * 2,
        peer="green-mesh",
        expires=int(time.time() - 600),
        ingress="ingress",
        egress="egress",
        key=bytes(32).hex(),
    )
    return secret(name, msgspec.json.encode(invitation), namespace="default")


@asynccontextmanager
async def remover(lab: Lab) -> AsyncIterator[Client]:
    """A client that may remove the second invitation only."""
    await lab.create(json.dumps(REMOVER))
    await lab.kubectl("create", "serviceaccount", "bob")
    await lab.kubectl("create", "rolebinding", "bobs", "--role=remover", "--serviceaccount=default:bob")
    _, token = await lab.kubectl("create", "token", "bob")
    config = yaml.safe_load(lab.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token.strip()}
    kubeconfig = lab.kubeconfig.with_name("bob")
    kubeconfig.write_text(yaml.safe_dump(config))
    async with connect(field_manager="test", kubeconfig=kubeconfig) as client:
        yield client


async def test_one_that_cannot_be_removed_does_not_keep_others(tmp_path: Path) -> None:
    """Each expired invitation is removed for itself, however the one before it fares."""
    async with connected(tmp_path) as (lab, _), remover(lab) as client, asyncio.TaskGroup() as tasks:
        await lab.create("\n---\n".join(map(expired, ("invitation-1", "invitation-2"))))
        store: Store[Secret] = Store()
        reflector = Reflector(client, Secret, store, selection=Selection(namespace="default", labels=LABEL))
        invitations = Invitations(client, store, changed=lambda _: None)
        invitations.follow()
        running = [tasks.create_task(reflector.run())]
        await store.synced.wait()
        running.append(tasks.create_task(invitations.run()))
        await until(lambda: [key.name for key in store.keys()] == ["invitation-1"])  # noqa: SIM118  (a view)
        for task in running:
            task.cancel()
