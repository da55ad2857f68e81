"""A server for the tests of a module that make up requests."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import requests
from tests.lab.apiserver.fuzz.asking import Api
from tests.lab.apiserver.fuzz.objects import prepare
from tests.lab.apiserver.fuzz.served import served


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("fuzz")
    with served(directory) as server, requests.Session() as session:
        certificates = directory / "ca.pem"
        certificates.write_bytes(server.ca)
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {server.admin_token}"
        with httpx2.Client(
            base_url=server.url, verify=_context(certificates), headers=dict(session.headers), timeout=20
        ) as http:
            prepare(http, of="")
            yield Api(http, session, certificates)


def _context(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates)
