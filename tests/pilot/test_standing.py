"""Statuses that are written without being read, on a lab's API server and on one that spells JSON otherwise."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lightkube.types import PatchType
from tests.kube.lab import Lab, connected
from tests.waiting import until

from isthmus.api import ImportedServiceSet
from isthmus.api.crds import crds
from isthmus.api.followed import FollowedImports
from isthmus.api.selectors import LocalService, ServiceMapping
from isthmus.federation.listing import Listing
from isthmus.kube import Client, ObjectKey, Reflector, Selection, Store
from isthmus.kube.errors import Conflict, NotFound
from isthmus.pilot.standing import Key, Standing

KEY: Key = (FollowedImports, "green-mesh")
SET = {
    "apiVersion": "federation.maistra.io/v1",
    "kind": "ImportedServiceSet",
    "metadata": {"name": "green-mesh", "namespace": "default"},
    "spec": {"importRules": []},
}


def listing(*names: str) -> Listing[str]:
    """What is imported, or on offer."""
    made: Listing[str] = Listing()
    for name in names:
        made.put(name, ServiceMapping(exported_name=name, local_service=LocalService()))
    return made


@asynccontextmanager
async def followed(client: Client) -> AsyncIterator[tuple[Standing, Store[FollowedImports], list[Key]]]:
    """What stands in the cluster, and what others were heard to have changed."""
    store: Store[FollowedImports] = Store()
    heard: list[Key] = []
    standing = Standing(client, namespace="default")
    standing.follow(FollowedImports, store, heard.append)
    async with asyncio.TaskGroup() as tasks:
        reflector = Reflector(client, FollowedImports, store, selection=Selection(namespace="default"))
        task = tasks.create_task(reflector.run())
        await store.synced.wait()
        yield standing, store, heard
        task.cancel()


@asynccontextmanager
async def imported_set(folder: Path) -> AsyncIterator[tuple[Lab, Client]]:
    """A lab with an ImportedServiceSet."""
    async with connected(folder) as (lab, client):
        await lab.create("\n---\n".join(json.dumps(each) for each in crds()))
        await lab.create(json.dumps(SET))
        yield lab, client


def stands(standing: Standing, **body: Any) -> bool:
    """Whether the status says all of this."""
    present = standing.of(KEY)
    return present is not None and standing.is_so(KEY, present, body)


@pytest.mark.slow
async def test_what_was_written_stands_at_once_and_afterwards(tmp_path: Path) -> None:
    """The answer to a write is known before its event, which changes nothing; it is stored as it was meant."""
    async with imported_set(tmp_path) as (_, client), followed(client) as (standing, store, _):
        body = {"importedServices": listing("b", "a"), "observedGeneration": 1}
        assert not stands(standing, **body)
        await standing.write(KEY, body)
        assert stands(standing, **body)
        version = (await client.api.get(ImportedServiceSet, "green-mesh", namespace="default")).metadata.resourceVersion

        def has_come() -> bool:
            known = store.get(ObjectKey("default", "green-mesh"))
            return known is not None and known.metadata.resourceVersion == version

        await until(has_come)
        assert stands(standing, **body)
        assert not stands(standing, importedServices=listing("a"))
        stored = await client.api.get(ImportedServiceSet, "green-mesh", namespace="default")
        assert [each.exported_name for each in (stored.status and stored.status.imported_services) or ()] == ["a", "b"]


@pytest.mark.slow
async def test_what_someone_else_writes_is_heard(tmp_path: Path) -> None:
    """An entry that someone takes out of the list is missed, as is the resource itself."""
    async with imported_set(tmp_path) as (lab, client), followed(client) as (standing, _, heard):
        body = {"importedServices": listing("a", "b")}
        await standing.write(KEY, body)
        fewer = {"status": {"importedServices": [{"exportedName": "a", "localService": {}}]}}
        status = ImportedServiceSet.Status
        await client.api.patch(status, "green-mesh", fewer, namespace="default", patch_type=PatchType.MERGE)
        await until(lambda: not stands(standing, **body))
        assert set(heard) == {KEY}
        await standing.write(KEY, body)
        assert stands(standing, **body)
        await lab.kubectl("delete", "importedserviceset", "green-mesh")
        await until(lambda: standing.of(KEY) is None)
        assert not standing._known
        assert not standing._rendered


@pytest.mark.slow
async def test_a_write_for_an_old_version_is_refused(tmp_path: Path) -> None:
    """Who has not heard of a change cannot undo it; who writes for a resource that is gone is told so."""
    async with imported_set(tmp_path) as (lab, client), followed(client) as (standing, _, _):
        deaf = Standing(client, namespace="default")
        store: Store[FollowedImports] = Store()
        deaf.follow(FollowedImports, store, lambda _: None)
        first = await client.api.get(FollowedImports, "green-mesh", namespace="default")
        store.put(first)
        await standing.write(KEY, {"importedServices": listing("a")})
        with pytest.raises(Conflict):
            await deaf.write(KEY, {"importedServices": listing()})
        assert stands(standing, importedServices=listing("a"))
        await lab.kubectl("delete", "importedserviceset", "green-mesh")
        with pytest.raises(NotFound):
            await deaf.write(KEY, {"importedServices": listing()})
        assert deaf.of(KEY) is None


@pytest.mark.slow
async def test_what_is_heard_while_writing_counts_if_it_is_newer(tmp_path: Path) -> None:
    """Someone writes after us, and that is heard of before the answer to our own write: then theirs is what stands."""
    async with imported_set(tmp_path) as (_, client):
        store: Store[FollowedImports] = Store()
        standing = Standing(_Overtaken(client, store), namespace="default")
        standing.follow(FollowedImports, store, lambda _: None)
        store.put(await client.api.get(FollowedImports, "green-mesh", namespace="default"))
        await standing.write(KEY, {"importedServices": listing("a")})
        assert not stands(standing, importedServices=listing("a"))
        await standing.write(KEY, {"importedServices": listing("a")})


class _Overtaken(Client):
    """Hears of another's write, once, before the answer to its own arrives."""

    def __init__(self, inner: Client, store: Store[FollowedImports]) -> None:
        super().__init__(inner.api, inner._http, server=inner._server, field_manager="test")
        self._store = store
        self._others: list[dict[str, Any]] = [{"status": {"importedServices": []}}]

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """Write; then comes the other."""
        answer = await super().merge(path, patch, doing=doing)
        for other in self._others:
            theirs = await super().merge(path, json.dumps(other).encode(), doing=doing)
            self._store.put(msgspec.json.decode(theirs, type=FollowedImports))
        self._others = []
        return answer


class _Replaced(Client):
    """The resource is gone when it is written, and the next one of its name was heard of before the answer."""

    def __init__(self, inner: Client, store: Store[FollowedImports]) -> None:
        super().__init__(inner.api, inner._http, server=inner._server, field_manager="test")
        self._store = store

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """Write to what is not there."""
        if b'"resourceVersion":"1"' in patch:
            self._store.remove(ObjectKey("default", "green-mesh"))
            self._store.put(_version("3"))
        return await super().merge(path, patch, doing=doing)


def _version(version: str) -> FollowedImports:
    metadata = {**SET["metadata"], "resourceVersion": version}  # type: ignore[dict-item]
    return msgspec.convert({**SET, "metadata": metadata}, FollowedImports)


@pytest.mark.slow
async def test_what_is_created_anew_while_writing_is_known(tmp_path: Path) -> None:
    """The API server says that the resource is gone, and the next one of its name was heard of before: it stands."""
    async with connected(tmp_path) as (lab, client):
        await lab.create("\n---\n".join(json.dumps(each) for each in crds()))
        store: Store[FollowedImports] = Store()
        standing = Standing(_Replaced(client, store), namespace="default")
        standing.follow(FollowedImports, store, lambda _: None)
        store.put(_version("1"))
        for is_known in (True, False):
            with pytest.raises(NotFound):
                await standing.write(KEY, {"importedServices": listing("a")})
            assert (standing.of(KEY) is not None) == is_known


class _SpellingOtherwise(Client):
    """Gives back what there is now with spaces, as another API server may."""

    def __init__(self, inner: Client) -> None:
        super().__init__(inner.api, inner._http, server=inner._server, field_manager="test")

    async def merge(self, path: str, patch: bytes, *, doing: str) -> bytes:
        """Write, and spell the answer otherwise."""
        return json.dumps(json.loads(await super().merge(path, patch, doing=doing)), indent=1).encode()


@pytest.mark.slow
async def test_an_api_server_may_spell_json_otherwise(tmp_path: Path) -> None:
    """What is given back in other words than it was written in is not written again and again."""
    async with imported_set(tmp_path) as (_, client):
        standing = Standing(_SpellingOtherwise(client), namespace="default")
        standing.follow(FollowedImports, await _followed(client), lambda _: None)
        await standing.write(KEY, {"importedServices": listing("a")})
        assert stands(standing, importedServices=listing("a"))
        assert not stands(standing, importedServices=listing("b"))


async def _followed(client: Client) -> Store[FollowedImports]:
    store: Store[FollowedImports] = Store()
    store.put(await client.api.get(FollowedImports, "green-mesh", namespace="default"))
    return store
