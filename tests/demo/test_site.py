"""Which example goes with which meshes, and what a mesh's files are for."""

from pathlib import Path

import pytest

from isthmus.demo import UnknownMeshesError
from isthmus.demo.commands import Kubectl
from isthmus.demo.site import Site, example_of, json_object

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"


@pytest.mark.parametrize(
    ("meshes", "example"),
    [
        pytest.param(("red", "green"), "two-meshes", id="two"),
        pytest.param(("green", "red"), "two-meshes", id="in any order"),
        pytest.param(("red", "green", "blue"), "three-meshes", id="three"),
    ],
)
def test_an_example_is_found_by_its_meshes(meshes: tuple[str, ...], example: str) -> None:
    """The example is the one whose folders are the meshes, however they are ordered."""
    assert example_of(REPOSITORY, meshes) == EXAMPLES / example


@pytest.mark.parametrize("meshes", [("red",), ("red", "blue"), ("red", "green", "green"), ("",), ("..", "red")])
def test_other_meshes_are_refused_with_what_there_is(meshes: tuple[str, ...]) -> None:
    """A set of meshes without an example is refused, and the message has the sets that there are."""
    with pytest.raises(UnknownMeshesError, match=r"expected .*red,green"):
        example_of(REPOSITORY, meshes)


@pytest.mark.parametrize("folder", sorted(EXAMPLES.glob("*/*/")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_is_applied_once(folder: Path) -> None:
    """Control plane, workloads and federation are all files of a mesh, and none is in two of them."""
    site = Site(folder.name, folder, Kubectl(Path("kubectl"), Path("kubeconfig")))
    applied = [*site.control_plane, *site.workloads, *site.federation]
    assert sorted(applied) == sorted(folder.glob("*.yaml"))
    assert {file.name.partition("-")[0].removesuffix(".yaml") for file in site.federation} <= {
        "servicemeshpeer",
        "exportedserviceset",
        "importedserviceset",
    }


def test_lines_that_are_no_json_are_passed_over() -> None:
    """A log may hold other lines than those looked for."""
    assert json_object(b'{"status": 200}\n') == {"status": 200}
    assert json_object("starting") == {}
