"""What the administrator reads in the status of a peer, written to a lab's API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from lightkube.types import PatchType
from tests.envoy import plans
from tests.kube.lab import Lab, connected
from tests.waiting import until

from isthmus.api import ServiceMeshPeer
from isthmus.api.crds import crds
from isthmus.api.followed import FollowedExports, FollowedImports
from isthmus.discovery import ExportFeed
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.peer_conditions import PeerFacts
from isthmus.kube import Client, Reflector, Selection, Store, connect
from isthmus.kube.errors import Denied, KubeError, Unavailable
from isthmus.logs import configure
from isthmus.pilot.events import Events
from isthmus.pilot.leadership import Leadership
from isthmus.pilot.link import Link
from isthmus.pilot.pace import BURST, WRITES_PER_S
from isthmus.pilot.status import Sources, StatusWriter

pytestmark = pytest.mark.slow

SPEC = {
    "remote": {"addresses": ["192.0.2.1"]},
    "gateways": {"ingress": {"name": "ingress"}, "egress": {"name": "egress"}},
    "security": {"trustDomain": "green.local", "clientID": "green.local/ns/green-mesh-system/sa/egress"},
}
PEER = {
    "apiVersion": "federation.maistra.io/v1",
    "kind": "ServiceMeshPeer",
    "metadata": {"name": "green-mesh", "namespace": "default"},
    "spec": SPEC,
}

EXPORTS = {
    "apiVersion": "federation.maistra.io/v1",
    "kind": "ExportedServiceSet",
    "metadata": {"name": "green-mesh", "namespace": "default"},
    "spec": {"exportRules": []},
}


class NoServices:
    """A namespace of these pods, without Services, and what is followed of it."""

    def __init__(self, *pods: str) -> None:
        self.pods = pods
        self.peers: Store[ServiceMeshPeer] = Store()
        self.exports: Store[FollowedExports] = Store()
        self.imports: Store[FollowedImports] = Store()

    def reflectors(self, client: Client) -> list[Reflector[Any]]:
        """What keeps the stores."""
        own = Selection(namespace="default")
        return [
            Reflector(client, ServiceMeshPeer, self.peers, selection=own),
            Reflector(client, FollowedExports, self.exports, selection=own),
            Reflector(client, FollowedImports, self.imports, selection=own),
        ]

    def own_pods(self) -> Collection[str]:
        """Their names."""
        return self.pods


@dataclass
class Replica:
    """A control-plane pod as far as the status goes."""

    link: Link
    writer: StatusWriter

    def watch(self, *, is_connected: bool, cause: str = "") -> None:
        """The watch stands now, or was lost."""
        if is_connected:
            self.link.watch_connected()
        else:
            self.link.watch_failed(cause)


@asynccontextmanager
async def replica(client: Client, pod: str, *pods: str) -> AsyncIterator[Replica]:
    """A pod that writes the status of its link, beside these pods."""
    leadership = Leadership(client, namespace="default", pod=pod)
    links: dict[str, Link] = {}
    facts = NoServices(*pods)
    sources = Sources(
        namespace="default",
        leadership=leadership,
        links=links,
        exports={},
        peer_facts=lambda link, discovery: PeerFacts(refusal=link.refusal),
        events=Events(client, pod=pod),
    )
    writer = StatusWriter(client, facts, sources)
    feed = ExportFeed()
    links["green-mesh"] = link = Link(
        "green-mesh",
        pod=pod,
        trust_bundle=plans.bundle("red"),
        feed=lambda: feed,
        status_changed=lambda: writer.peer_changed("green-mesh"),
        imports_changed=lambda _: None,
    )
    async with asyncio.TaskGroup() as tasks:
        runs = [writer.run(), leadership.run(), *(each.run() for each in facts.reflectors(client))]
        running = [tasks.create_task(each) for each in runs]
        yield Replica(link, writer)
        for task in running:
            task.cancel()


@asynccontextmanager
async def peer_resource(folder: Path) -> AsyncIterator[tuple[Lab, Client]]:
    """A lab with the resource of the peer."""
    async with connected(folder) as (lab, client):
        await lab.create("\n---\n".join(json.dumps(each) for each in crds()))
        await lab.create(json.dumps(PEER))
        yield lab, client


class WithoutPeers(Client):
    """A way to the API server on which writes of peers fail."""

    def __init__(self, inner: Client, error: type[KubeError]) -> None:
        super().__init__(inner.api, inner._http, server=inner._server, field_manager="test")
        self._error = error

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """Write all but peers."""
        if "/servicemeshpeers/" in path:
            raise self._error(f"cannot {doing}: it is so")
        return await super().merge(path, patch, doing=doing)


async def stored(client: Client) -> dict[str, list[dict[str, Any]]]:
    """``status.discoveryStatus`` as kubectl shows it."""
    body = await client.read(
        "/apis/federation.maistra.io/v1/namespaces/default/servicemeshpeers/green-mesh", {}, doing="get the peer"
    )
    found: dict[str, list[dict[str, Any]]] = json.loads(body).get("status", {}).get("discoveryStatus", {})
    return found


def pods_of(entries: list[dict[str, Any]]) -> list[str]:
    """Whose entries they are."""
    return [each["pod"] for each in entries]


async def test_a_link_that_comes_up_is_told_as_it_happens(tmp_path: Path) -> None:
    """Connecting, the first list and the peer's own watch show without waiting, in the documented shape."""
    async with peer_resource(tmp_path) as (_, client), replica(client, "istiod-0", "istiod-0") as pod:
        loop = asyncio.get_running_loop()
        started = loop.time()
        pod.link.watch_connected()

        async def is_told() -> bool:
            return bool((await stored(client)).get("active"))

        await until(is_told)
        pod.link.got_list()
        pod.link.remote_connected("192.0.2.9")

        async def is_complete() -> bool:
            (entry,) = (await stored(client))["active"]
            return "lastFullSync" in entry["watch"] and bool(entry.get("remotes"))

        await until(is_complete)
        assert loop.time() - started < 2 / WRITES_PER_S, "three writes did not have to wait for each other"
        status = await stored(client)
        assert status.keys() == {"active", "inactive"}
        (entry,) = status["active"]
        assert entry.keys() == {"pod", "remotes", "watch"}
        assert entry["watch"].keys() == {"connected", "lastConnected", "lastFullSync"}
        assert entry["remotes"][0].keys() == {"connected", "lastConnected", "source"}


async def test_writes_are_few_and_the_last_state_is_written(tmp_path: Path) -> None:
    """A link that flaps all the time costs a write a second, and in the end the status is true."""
    async with peer_resource(tmp_path) as (lab, client), replica(client, "istiod-0", "istiod-0") as pod:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        store: Store[ServiceMeshPeer] = Store()
        store.subscribe(lambda change: seen.append(change.key.name))
        async with (
            connect(field_manager="watcher", kubeconfig=lab.kubeconfig) as watcher,
            asyncio.TaskGroup() as tasks,
        ):
            reflector = Reflector(watcher, ServiceMeshPeer, store, selection=Selection(namespace="default"))
            task = tasks.create_task(reflector.run())
            await store.synced.wait()
            started = loop.time()
            for number in range(300):
                pod.watch(is_connected=number % 2 == 0, cause=f"cause {number}")
                await asyncio.sleep(0.002)

            async def is_last() -> bool:
                inactive = (await stored(client)).get("inactive", [])
                return [each["watch"].get("lastDisconnectStatus", "") for each in inactive] == ["cause 299"]

            await until(is_last)
            written = len(seen) - 1  # the first is the resource as it was
            assert written <= BURST + (loop.time() - started) * WRITES_PER_S + 1
            task.cancel()


async def test_replicas_do_not_touch_each_others_entries(tmp_path: Path) -> None:
    """Pods that write at the same time do not lose each other's entries, whoever is refused comes again."""
    names = ("istiod-0", "istiod-1", "istiod-2")
    async with (
        peer_resource(tmp_path) as (_, client),
        replica(client, names[0], *names) as first,
        replica(client, names[1], *names) as second,
        replica(client, names[2], *names) as third,
    ):
        for number in range(10):
            for pod in (first, second, third):
                pod.watch(is_connected=pod is not third or number % 2 == 0, cause=f"cause {number}")
            await asyncio.sleep(0)

        async def is_told() -> bool:
            status = await stored(client)
            inactive = [
                (each["pod"], each["watch"].get("lastDisconnectStatus", "")) for each in status.get("inactive", [])
            ]
            return pods_of(status.get("active", [])) == list(names[:2]) and inactive == [(names[2], "cause 9")]

        await until(is_told)


async def test_entries_of_pods_that_are_gone_are_removed(tmp_path: Path) -> None:
    """A pod that no longer exists cannot say that it is connected; the entry of one that exists stays."""
    entries = [{"pod": f"istiod-{number}", "watch": {"connected": True}} for number in range(3)]
    patch = {"status": {"discoveryStatus": {"active": entries, "inactive": []}}}
    async with peer_resource(tmp_path) as (_, client), replica(client, "istiod-0", "istiod-0", "istiod-1") as pod:
        status = ServiceMeshPeer.Status
        await client.api.patch(status, "green-mesh", patch, namespace="default", patch_type=PatchType.MERGE)
        pod.link.watch_connected()

        async def is_tidy() -> bool:
            return pods_of((await stored(client))["active"]) == ["istiod-0", "istiod-1"]

        await until(is_tidy)


async def test_a_list_that_is_too_long_is_cut(tmp_path: Path) -> None:
    """With more services than fit into a resource, the first are listed, all are counted, and a condition says so,
    for as long as it is so."""
    async with peer_resource(tmp_path) as (lab, client):
        await lab.create(json.dumps({**EXPORTS, "kind": "ImportedServiceSet", "spec": {"importRules": []}}))
        async with replica(client, "istiod-0", "istiod-0") as pod:
            names = [f"{number:05}.{'n' * 63}.svc.{'m' * 63}-exports.local" for number in range(7_000)]
            for name in names:
                pod.link.imports.offer(name, ServiceMessage(name=name[:5], namespace="n" * 63, hostname=name))

            def is_written() -> bool:
                pod.writer.sets_changed("green-mesh")
                return pod.writer.writes["ImportedServiceSet"] > 0

            await until(is_written)
            found = await imported(client)
            listed = [each["exportedName"] for each in found["importedServices"]]
            assert 5_000 < len(listed) < 7_000
            assert listed == names[: len(listed)]
            assert found["offered"] == 7_000
            told = {each["type"]: each for each in found["conditions"]}
            assert (told["Accepted"]["status"], told["FullyListed"]["reason"]) == ("True", "ListTooLong")
            assert f"lists {len(listed)} of 7000 services" in told["FullyListed"]["message"]
            pod.link.imports.clear()
            pod.writer.sets_changed("green-mesh")
            await until(lambda: pod.writer.writes["ImportedServiceSet"] == 2)
            assert [each["type"] for each in (await imported(client))["conditions"]] == ["Accepted"]


async def imported(client: Client) -> dict[str, Any]:
    """The status of the ImportedServiceSet."""
    path = "/apis/federation.maistra.io/v1/namespaces/default/importedservicesets/green-mesh"
    status: dict[str, Any] = json.loads(await client.read(path, {}, doing="get the set"))["status"]
    return status


async def test_nothing_is_kept_of_resources_that_are_gone(tmp_path: Path) -> None:
    """Names that come and go leave nothing behind, whether or not something of them was being written."""
    async with peer_resource(tmp_path) as (lab, client), replica(client, "istiod-0", "istiod-0") as pod:
        peer = await client.api.get(ServiceMeshPeer, "green-mesh", namespace="default")
        pod.writer.looked_at("green-mesh", peer)
        pod.link.watch_connected()
        await until(lambda: pod.writer.writes["ServiceMeshPeer"])
        await lab.kubectl("delete", "servicemeshpeer", "green-mesh")
        pod.writer.peer_changed("green-mesh")
        await until(lambda: not pod.writer._generations and not pod.writer._pace)


async def test_a_resource_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """The status of a peer that was deleted a moment ago is nobody's; created again, it is told."""
    async with peer_resource(tmp_path) as (lab, client), replica(client, "istiod-0", "istiod-0") as pod:
        await lab.kubectl("delete", "servicemeshpeer", "green-mesh")
        pod.link.watch_connected()
        await lab.create(json.dumps(PEER))
        pod.link.got_list()

        async def is_told() -> bool:
            return pods_of((await stored(client)).get("active", [])) == ["istiod-0"]

        await until(is_told)


@pytest.mark.parametrize("error", [Unavailable, Denied])
@pytest.mark.usefixtures("_logging")
async def test_a_write_that_fails_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: type[KubeError]
) -> None:
    """However often it is tried: one line, and statuses that can be written are no news of it."""
    async with peer_resource(tmp_path) as (lab, client):
        await lab.create(json.dumps(EXPORTS))
        async with replica(WithoutPeers(client, error), "istiod-0", "istiod-0") as pod:
            pod.writer.looked_at("green-mesh", await client.api.get(FollowedExports, "green-mesh", namespace="default"))
            pod.link.watch_connected()

            def has_failed_often() -> bool:
                pod.writer.sets_changed("green-mesh")
                return pod.writer.queue.retries > 2 * BURST and pod.writer.writes["ExportedServiceSet"] == 1

            await until(has_failed_often)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line["event"] for line in lines if line.get("queue") == "status"]
    assert events == ["reconcile failed, trying on"]


@pytest.fixture
def _logging() -> Iterator[None]:
    configure()
    yield
    structlog.reset_defaults()
