"""How expired invitations are removed: by any clock, and from a lab's API server by who may remove some only."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
import pytest
import yaml
from lightkube.resources.core_v1 import Secret
from tests.gateway.virtual_time import run_virtually
from tests.kube.lab import Lab, connected
from tests.pilot.test_enrolment import secret
from tests.waiting import until

from isthmus.federation.enrolment import OpenInvitation
from isthmus.federation.invitation import LABEL
from isthmus.identity import CLOCK_SKEW
from isthmus.kube import Client, ObjectKey, Reflector, Selection, Store, connect
from isthmus.pilot.invitations import LONGEST_WAIT_S, Invitations

REMOVER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "remover", "namespace": "default"},
    "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"], "resourceNames": ["invitation-2"]},
    ],
}


def invitation(name: str, *, lasts: timedelta) -> str:
    """An invitation that is over so long from now, or was before, as YAML."""
    content = OpenInvitation(
        id="0123456789abcdef" * 2,
        peer="green-mesh",
        expires=int(time.time() + lasts.total_seconds()),
        ingress="ingress",
        egress="egress",
        key=bytes(32).hex(),
    )
    return secret(name, msgspec.json.encode(content), namespace="default")


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


@dataclass
class Deleting:
    """A client of a cluster in which a Secret that is deleted is seen to be gone at once."""

    store: Store[Secret]

    @property
    def api(self) -> "Deleting":
        return self

    async def delete(self, kind: type[Secret], name: str, *, namespace: str) -> None:
        """Delete it."""
        del kind
        self.store.remove(ObjectKey(namespace, name))


@pytest.mark.parametrize("set_by", [timedelta(minutes=20), timedelta(hours=-1)], ids=["forward", "back"])
def test_a_clock_that_is_set_is_noticed(set_by: timedelta) -> None:
    """An invitation goes when the clock says so, also if that was set since it was last looked at."""

    async def scenario() -> None:
        loop, began, ahead = asyncio.get_running_loop(), datetime.now(UTC), timedelta()
        store: Store[Secret] = Store()
        made = Secret.from_dict(json.loads(invitation("invitation-1", lasts=timedelta(minutes=30))))
        store.put(made)  # type: ignore[arg-type]  # lightkube says a base class
        invitations = Invitations(
            cast("Client", Deleting(store)),
            store,
            changed=lambda _: None,
            now=lambda: began + timedelta(seconds=loop.time()) + ahead,
        )
        invitations.follow()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(invitations.run())
            await asyncio.sleep(60)
            ahead = set_by
            over = timedelta(minutes=30) + CLOCK_SKEW - set_by
            await asyncio.sleep(over.total_seconds() - loop.time() - 2)
            assert len(store) == 1
            await asyncio.sleep(LONGEST_WAIT_S + 4)
            assert len(store) == 0
            task.cancel()

    run_virtually(scenario())


@pytest.mark.slow
async def test_one_that_cannot_be_removed_does_not_keep_others(tmp_path: Path) -> None:
    """Each expired invitation is removed for itself, however the one before it fares."""
    async with connected(tmp_path) as (lab, _), remover(lab) as client, asyncio.TaskGroup() as tasks:
        expired = [invitation(f"invitation-{number}", lasts=timedelta(minutes=-10)) for number in (1, 2)]
        await lab.create("\n---\n".join(expired))
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
