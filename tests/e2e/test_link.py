"""Three meshes without anything for each other are linked, found linked, and taken apart again, by one command each."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Site, eventually
from tests.e2e.empty_meshes import EmptyMeshes, empty_meshes

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
NAMES = ("red", "green", "blue")
MESHES = [f"{name}-mesh" for name in NAMES]
CONTEXTS = ["--contexts", ",".join(NAMES)]
KINDS = "smcp,smp,configmaps,services,deployments,serviceaccounts"


@pytest.fixture(scope="module")
def meshes() -> Iterator[EmptyMeshes]:
    with empty_meshes(*NAMES) as running:
        yield running


def objects(meshes: EmptyMeshes) -> dict[str, set[str]]:
    """The names of what is in each mesh's namespace."""
    sites = [meshes.site(name) for name in NAMES]
    return {site.mesh: set(site.kubectl("get", KINDS, "-o", "name").stdout.split()) for site in sites}


def specs(meshes: EmptyMeshes) -> dict[str, str]:
    """The specs of the control planes."""
    return {name: json.dumps(meshes.site(name).get("smcp", f"{name}-mesh")["spec"]) for name in NAMES}


def pairs(meshes: EmptyMeshes) -> list[Site]:
    return [meshes.site(name, other) for name in NAMES for other in NAMES if other != name]


def test_three_meshes_are_linked_and_unlinked(meshes: EmptyMeshes, tmp_path: Path) -> None:
    """In one command all six peers are ready; a second run changes nothing; undone, nothing is left of it."""
    before = objects(meshes), specs(meshes)

    shown = meshes.isthmus("link", *MESHES, *CONTEXTS).stdout
    assert "12 to create, 3 to change" in shown
    assert (objects(meshes), specs(meshes)) == before, "a plan writes nothing"

    began = time.monotonic()
    done = meshes.isthmus("link", *MESHES, *CONTEXTS, "--apply")
    print(f"three meshes linked: all peers ready after {time.monotonic() - began:.1f} s")
    assert "6 peers are ready" in done.stderr
    assert all(pair.is_active() for pair in pairs(meshes))

    again = meshes.isthmus("link", *MESHES, *CONTEXTS, "--apply").stdout
    assert "Nothing to do: 15 as is." in again
    written = meshes.isthmus("link", *MESHES, *CONTEXTS, "--output", str(tmp_path)).stdout
    assert written.count("  + ") == 15
    for name in NAMES:
        said = meshes.site(name).kubectl("apply", "--server-side", "--dry-run=server", "-f", f"{tmp_path}/{name}-mesh")
        assert len(said.stdout.splitlines()) == 5
    assert "Nothing to do: 15 as is." in meshes.isthmus("link", *MESHES, *CONTEXTS).stdout

    undone = meshes.isthmus("unlink", *MESHES, *CONTEXTS, "--apply").stdout
    assert "3 to change, 12 to delete" in undone
    eventually(lambda: objects(meshes) == before[0], what="everything that the link brought is gone")
    assert specs(meshes) == before[1]
    assert "Nothing to do." in meshes.isthmus("unlink", *MESHES, *CONTEXTS, "--apply").stdout
