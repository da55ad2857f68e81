"""Fixtures of discovery's tests."""

import pytest
from tests.discovery.mesh import GreenLink, Mesh, service

from isthmus.discovery import ExportFeed


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture
def green(mesh: Mesh) -> GreenLink:
    """Peer green-mesh, to which ratings is exported."""
    return GreenLink(trust_bundle=mesh.bundle, feed=ExportFeed([service("ratings")]))
