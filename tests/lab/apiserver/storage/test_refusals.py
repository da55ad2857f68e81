"""When the database can't: refused as a whole, and well again afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from isthmus.lab.apiserver.errors import StorageRefusedError, storage_refused
from isthmus.lab.apiserver.objects import Encoded, Key
from isthmus.lab.apiserver.storage import Store, Write
from isthmus.lab.apiserver.storage.database import database_path
from isthmus.lab.apiserver.storage.store import open_store


def write(name: str, size: int) -> Write:
    return Write(
        Key("configmaps", "default", name), None, Encoded(b'{"metadata":{"resourceVersion":"', b'"}}' + b" " * size)
    )


async def limit_pages(store: Store, pages: int) -> None:
    """Make the disk as small as that for the store's own connection."""
    await asyncio.to_thread(store._writer._connection.execute, f"PRAGMA max_page_count={pages}")


async def test_a_full_disk_refuses_the_write_and_nothing_of_it_is_stored(tmp_path: Path) -> None:
    """Neither memory nor file has the object, no revision is lost, and with room again writing goes on."""
    async with open_store(tmp_path) as store:
        first = await store.write(write("a", 10))
        await limit_pages(store, 20)
        with pytest.raises(StorageRefusedError) as error:
            await store.write(write("b", 1_000_000))
        assert storage_refused(error.value).code == 507
        assert [one.key.name for one in store.state.listed("configmaps")] == ["a"]
        await limit_pages(store, 100_000)
        assert (await store.write(write("b", 1_000_000))).revision == first.revision + 1
    async with open_store(tmp_path) as store:
        assert [one.key.name for one in store.state.listed("configmaps")] == ["a", "b"]


async def test_a_locked_database_refuses_the_write(tmp_path: Path) -> None:
    """While somebody else holds the file a write is refused with a 503, and works again after."""
    async with open_store(tmp_path) as store:
        await asyncio.to_thread(store._writer._connection.execute, "PRAGMA busy_timeout=1")
        other = await asyncio.to_thread(
            sqlite3.connect, database_path(tmp_path), isolation_level=None, check_same_thread=False
        )
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        with pytest.raises(StorageRefusedError) as error:
            await store.write(write("a", 1))
        assert storage_refused(error.value).code == 503
        await asyncio.to_thread(other.execute, "ROLLBACK")
        await asyncio.to_thread(other.close)
        assert (await store.write(write("a", 1))).revision == 1
