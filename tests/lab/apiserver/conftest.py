"""A real API server for each test, and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from tests.lab.apiserver.clients import Kubectl, http_client, kubectl_for, running

from isthmus.lab.apiserver import Settings, Started


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Started]:
    async with running(Settings(tmp_path / "data")) as started:
        yield started


@pytest.fixture
async def kubectl(server: Started, tmp_path: Path) -> Kubectl:
    return await kubectl_for(server, tmp_path)


@pytest.fixture
async def http(server: Started) -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(server) as client:
        yield client
