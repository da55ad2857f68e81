"""Reflectors against the lab's API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from tests.kube.lab import connected, lab_process
from tests.waiting import until

from isthmus.api import ServiceMeshPeer
from isthmus.api.crds import DEFINITIONS, crd
from isthmus.kube import Change, Client, KubeObject, ObjectKey, Reflector, Selection, Store, connect
from isthmus.kube.errors import Expired
from isthmus.kube.reflector import PAGE

pytestmark = pytest.mark.slow

T = TypeVar("T", bound=KubeObject)


@asynccontextmanager
async def following(
    client: Client, kind: type[T], *, selection: Selection | None = None, synced: bool = True
) -> AsyncIterator[Store[T]]:
    """Keep a store of the kind for the block, which begins once it is synced."""
    store: Store[T] = Store()
    reflector = Reflector(client, kind, store, selection=selection or Selection(namespace="default"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reflector.run())
        if synced:
            await asyncio.wait_for(store.synced.wait(), 10)
        yield store
        task.cancel()


def config(name: str, **data: str) -> ConfigMap:
    """Return a ConfigMap to create."""
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"name": name}), data=dict(data))


def names(store: Store[Any]) -> set[str]:
    """Return the names in a store, but for what every namespace has."""
    return {key.name for key in store.keys()} - {"kube-root-ca.crt"}  # noqa: SIM118 -- a store is no dict


async def test_store_follows_the_server(tmp_path: Path) -> None:
    """What is there is seen by the list, what is made, changed and deleted by the watch."""
    async with connected(tmp_path) as (_, client):
        await client.api.create(config("before"))
        async with following(client, ConfigMap) as store:
            assert names(store) == {"before"}
            await client.api.create(config("after", x="1"))
            await until(lambda: "after" in names(store))
            await client.api.replace(config("after", x="2"))
            await until(
                lambda: (obj := store.get(ObjectKey("default", "after"))) is not None and obj.data == {"x": "2"}
            )
            await client.api.delete(ConfigMap, "before", namespace="default")
            await until(lambda: names(store) == {"after"})
            assert store.stale_since is None


async def test_selection(tmp_path: Path) -> None:
    """Only the namespace and the labels that were asked for are seen; field managers are not kept."""
    async with connected(tmp_path) as (_, client):
        await client.api.create(Namespace(metadata=ObjectMeta(name="other")))
        for obj in (config("a"), config("b")):
            await client.api.create(obj)
        obj = config("a")
        assert obj.metadata is not None
        obj.metadata.namespace = "other"
        await client.api.create(obj)
        selection = Selection(namespace="default", labels="name=a")
        async with following(client, ConfigMap, selection=selection) as store:
            assert [str(key) for key in store.keys()] == ["default/a"]  # noqa: SIM118 -- a store is no dict
            assert all(each.metadata and each.metadata.managedFields is None for each in store.values())
        async with following(client, ConfigMap, selection=Selection(labels="name=a")) as store:
            assert sorted(str(key) for key in store.keys()) == ["default/a", "other/a"]  # noqa: SIM118


async def test_long_lists_come_in_pages(tmp_path: Path) -> None:
    """A list of more than a page is complete, and a burst of events arrives as a whole."""
    wanted = {f"c{number}" for number in range(PAGE + 10)}
    async with connected(tmp_path) as (_, client), following(client, ConfigMap) as store:
        async with asyncio.TaskGroup() as group:
            for name in wanted:
                group.create_task(client.api.create(config(name)))
        await until(lambda: names(store) == wanted)
        async with following(client, ConfigMap) as late:
            assert names(late) == wanted


async def test_server_that_restarts_takes_nothing_down(tmp_path: Path) -> None:
    """While the server is away the store stays and says since when; afterwards only differences are told."""
    async with asyncio.timeout(50):
        async with lab_process(tmp_path) as cluster:
            port = cluster.port
            async with connect(field_manager="test", kubeconfig=cluster.kubeconfig) as client:
                for name in ("stays", "goes"):
                    await client.api.create(config(name))
        seen: list[Change[ConfigMap]] = []
        async with connect(field_manager="test", kubeconfig=cluster.kubeconfig) as client:
            store: Store[ConfigMap] = Store()
            async with asyncio.TaskGroup() as group:
                async with lab_process(tmp_path, port=port):
                    reflecting = Reflector(client, ConfigMap, store, selection=Selection(namespace="default"))
                    task = group.create_task(reflecting.run())
                    await store.synced.wait()
                    store.subscribe(seen.append)
                    seen.clear()
                await until(lambda: store.stale_since is not None)
                assert names(store) == {"stays", "goes"}
                async with (
                    lab_process(tmp_path, port=port) as cluster,
                    connect(field_manager="test", kubeconfig=cluster.kubeconfig) as other,
                ):
                    await other.api.delete(ConfigMap, "goes", namespace="default")
                    await other.api.create(config("comes"))
                    await until(lambda: names(store) == {"stays", "comes"})
                    await until(lambda: store.stale_since is None)
                    task.cancel()
        assert {(change.key.name, change.new is None) for change in seen} == {("goes", True), ("comes", False)}


async def test_forgotten_version(tmp_path: Path) -> None:
    """A reflector that was away for longer than the server remembers lists again, and tells only the differences."""
    store: Store[ConfigMap] = Store()
    async with connected(tmp_path) as (_, client):
        reflector = Reflector(client, ConfigMap, store, selection=Selection(namespace="default"))
        for name in ("stays", "goes"):
            await client.api.create(config(name))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(reflector.run())
            await store.synced.wait()
            task.cancel()
        seen: list[Change[ConfigMap]] = []
        store.subscribe(seen.append)
        seen.clear()
        await client.api.delete(ConfigMap, "goes", namespace="default")
        await client.api.create(config("comes"))
        for number in range(30):  # more bytes than the server keeps of its past
            await client.api.apply(config("comes", big=f"{number}" + "x" * 1_000_000))
        with pytest.raises(Expired):
            await reflector._follow()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(reflector.run())
            await until(lambda: names(store) == {"stays", "comes"})
            task.cancel()
    assert [(change.key.name, change.new is None) for change in seen] == [("comes", False), ("goes", True)]


async def test_kind_that_is_not_served_yet(tmp_path: Path) -> None:
    """A store of a kind that the server does not know yet is not synced, and says so, until it does."""
    async with (
        connected(tmp_path) as (cluster, client),
        following(client, ServiceMeshPeer, synced=False) as store,
    ):
        await until(lambda: store.stale_since is not None)
        assert not store.synced.is_set()
        await cluster.create(json.dumps(crd(DEFINITIONS[0])))
        await until(store.synced.is_set)
