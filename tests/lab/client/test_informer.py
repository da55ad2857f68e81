"""Informers against a real API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.resource import ResourceDef
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from tests.lab.apiserver.clients import running
from tests.waiting import until

from isthmus.lab.apiserver import Settings
from isthmus.lab.client import Informer, Informers, ObjectKey

KEY = ObjectKey("default", "a")


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AsyncClient]:
    async with running(settings) as api:
        path = settings.data_dir / "kubeconfig"
        await asyncio.to_thread(api.kubeconfig().write, path)
        client = AsyncClient(KubeConfig.from_file(path), trust_env=False)
        yield client
        await client.close()


def config_map(value: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"v": value})


def value_of(informer: Informer[ConfigMap]) -> str | None:
    found = informer.get(KEY)
    return (found.data or {})["v"] if found is not None else None


async def test_the_copy_follows(tmp_path: Path) -> None:
    """What is created, changed and deleted is seen in order, with what it was before."""
    seen: list[tuple[str | None, str | None]] = []

    def note(key: ObjectKey, old: ConfigMap | None, new: ConfigMap | None) -> None:
        if key == KEY:
            seen.append(tuple((obj.data or {})["v"] if obj else None for obj in (old, new)))  # type: ignore[arg-type]  # two of them

    async with connected(Settings(data_dir=tmp_path)) as client:
        informer = Informer(client, ConfigMap, selection={"namespace": "*"})
        informer.subscribe(note)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(informer.run())
            await informer.synced.wait()
            await client.create(config_map("1"))
            await client.replace(config_map("2"))
            await client.delete(ConfigMap, "a", namespace="default")
            await until(lambda: len(seen) == 3)
            task.cancel()
    assert seen == [(None, "1"), ("1", "2"), ("2", None)]


async def test_own_writes_are_read_back(tmp_path: Path) -> None:
    """What a write returned is there at once, and an old version never replaces a newer one."""
    async with connected(Settings(data_dir=tmp_path)) as client:
        informer = Informer(client, ConfigMap, selection={"namespace": "*"})
        first = await client.create(config_map("1"))
        second = await client.replace(config_map("2"))
        informer.observe(second)
        assert value_of(informer) == "2"
        informer.observe(first)
        assert value_of(informer) == "2"
        async with asyncio.TaskGroup() as group:
            task = group.create_task(informer.run())
            await informer.synced.wait()
            await client.delete(ConfigMap, "a", namespace="default")
            await until(lambda: value_of(informer) is None)
            informer.observe(second)  # the stream has passed it: it does not come back
            assert value_of(informer) is None
            task.cancel()


@pytest.mark.slow
async def test_it_survives_the_server(tmp_path: Path) -> None:
    """After a restart of the server, during which things have changed, the copy is right again."""
    settings = Settings(data_dir=tmp_path)
    async with connected(settings) as client:
        await client.create(config_map("1"))
        server = client.config.cluster.server
    again = Settings(data_dir=tmp_path, port=int(server.rpartition(":")[2]))
    async with connected(again) as client:
        lasting = AsyncClient(client.config, trust_env=False)
        informer = Informer(lasting, ConfigMap, selection={"namespace": "*"})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(informer.run())
            await until(lambda: value_of(informer) == "1")
            task.cancel()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        async with connected(again) as client:
            await client.replace(config_map("2"))
            await until(lambda: value_of(informer) == "2")
        async with connected(again) as client:
            await client.replace(config_map("3"))
            await until(lambda: value_of(informer) == "3")
        task.cancel()
    await lasting.close()


async def test_an_informer_is_found_by_what_it_follows(tmp_path: Path) -> None:
    """Whoever works on kinds by their names finds those that are followed, and only those."""
    async with connected(Settings(data_dir=tmp_path)) as client:
        informers = Informers(client)
        followed = informers.of(ConfigMap)
        assert informers.existing(ResourceDef("", "v1", "ConfigMap")) is followed
        for other in (("", "v1", "Secret"), ("apps", "v1", "ConfigMap"), ("", "v2", "ConfigMap")):
            assert informers.existing(ResourceDef(*other)) is None
