"""``isthmus link`` and ``isthmus unlink``: meshes federated with each other, and apart again."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isthmus.cli import completion
from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Kubeconfig, contexts_option, listed

if TYPE_CHECKING:
    from isthmus.doctor.linking import Linker, Options, Plan, Written

LINK_EPILOG = epilog(
    {
        0: "all is done, or the plan is shown",
        1: "written, but not all came up in time, or an address for a file is not known yet",
        2: "it cannot be done as asked, or a cluster does not answer",
    },
    "isthmus link red-mesh green-mesh --contexts red,green",
    "isthmus link red-mesh green-mesh blue-mesh --contexts red,green,blue --apply",
    "isthmus link red-mesh green-mesh --contexts one --output deploy/",
    "isthmus link red-mesh green-mesh --contexts red,green --address green-mesh=mesh.example.com --apply",
)
UNLINK_EPILOG = epilog(
    {0: "all is done, or the plan is shown", 2: "it cannot be done as asked, or a cluster does not answer"},
    "isthmus unlink red-mesh green-mesh --contexts red,green",
    "isthmus unlink red-mesh green-mesh --contexts red,green --apply",
    "isthmus unlink red-mesh green-mesh --contexts red,- --apply",
)

Meshes = Annotated[
    list[str],
    typer.Argument(
        metavar="MESH MESH [MESH]...",
        help="ServiceMeshControlPlanes: NAME or NAMESPACE/NAME.",
        autocompletion=completion.meshes,
    ),
]


def link(
    meshes: Meshes,
    *,
    contexts: Annotated[
        str,
        contexts_option("The meshes' contexts in the kubeconfig, A,B,…: one each, or one for all."),
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write, and wait until all peers are ready.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write files into this folder instead, for GitOps.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(help="Where a mesh's ingress gateways are reached: MESH=ADDRESS or MESH/PEER=ADDRESS."),
    ] = None,
    service_type: Annotated[
        Literal["LoadBalancer", "NodePort"] | None,
        typer.Option(help="How ingress gateways are reached; LoadBalancer unless they are there already."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for addresses and peers.", min=0)] = 60.0,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Federate meshes, each with each: gateways, roots and peers. Without --apply or --output, only show the plan.

    A second run changes nothing. What others have made is used as it is, or told as an error before anything is
    written.
    """
    from isthmus.doctor.linking import Options, parse_addresses

    if apply and output is not None:
        raise typer.BadParameter("expected one of --apply and --output", param_hint="--output")
    with _told("link"):
        names = [mesh.rpartition("/")[2] for mesh in meshes]
        options = Options(addresses=parse_addresses(address or (), names), service_type=service_type)

        async def work(linker: "Linker") -> None:
            plan = await _shown(await linker.plan_link(options))
            if output is not None:
                _files(plan, output)
            elif apply:
                await _link(linker, plan, options, timeout)
            elif not plan.is_done:
                typer.echo("Nothing was written: add --apply, or --output FOLDER for files.")

        _run(meshes, contexts, kubeconfig, work)


def unlink(
    meshes: Meshes,
    *,
    contexts: Annotated[
        str,
        contexts_option("The meshes' contexts in the kubeconfig, A,B,…: one each, or one for all; - if it is gone."),
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write; without it, only the plan is shown.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take away what isthmus link has made for these meshes, each with each. Without --apply, only show the plan.

    What others have made, or changed since, stays; so does a gateway that another peer uses.
    """

    async def work(linker: "Linker") -> None:
        plan = await _shown(await linker.plan_unlink())
        if apply:
            await linker.carry_out(plan)
            typer.echo("Done." if not plan.is_done else "Nothing was written.")
        elif not plan.is_done:
            typer.echo("Nothing was written: add --apply.")

    with _told("unlink"):
        _run(meshes, contexts, kubeconfig, work)


async def _shown(plan: "Plan") -> "Plan":
    from isthmus.doctor.linking import plan_text, summary

    typer.echo(f"{plan_text(plan)}\n\n{summary(plan)}.")
    return plan


async def _link(linker: "Linker", plan: "Plan", options: "Options", timeout_s: float) -> None:
    from time import monotonic

    began = monotonic()

    def progress(what: str) -> None:
        typer.echo(f"  {monotonic() - began:5.1f} s  {what}", err=True)

    await linker.link(plan, options, timeout_s=timeout_s, progress=progress)


def _files(plan: "Plan", folder: Path) -> None:
    from isthmus.doctor.linking import Verb, write_files

    written: list[Written] = write_files(plan, folder)
    for each in written:
        typer.echo(f"  {each.verb} {each.path}")
    if all(each.verb is Verb.KEEP for each in written):
        typer.echo("The files are so already.")
    if missing := [f"{step.mesh}/{step.name}" for step in plan.steps if step.is_open]:
        typer.echo(
            f"isthmus link: no address yet for {', '.join(missing)}: apply the rest, then run this again", err=True
        )
        raise typer.Exit(1)


def _run(
    meshes: list[str], contexts: str, kubeconfig: Path | None, work: "Callable[[Linker], Coroutine[Any, Any, None]]"
) -> None:
    import asyncio

    from isthmus.cli.stopping import until_stopped
    from isthmus.doctor.linking import connect_to, meshes_asked

    asked = meshes_asked(meshes, listed(contexts))

    async def connected() -> None:
        async with connect_to(asked, kubeconfig) as linker:
            await work(linker)

    asyncio.run(until_stopped(connected()))


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Tell errors as lines, and their kind as the exit status."""
    from isthmus.doctor.contexts import ContextError
    from isthmus.doctor.linking import LinkError, NotDone
    from isthmus.kube.errors import KubeError

    try:
        yield
    except NotDone as error:
        for line in error.waiting:
            typer.echo(f"isthmus {command}: {line}", err=True)
        typer.echo(f"isthmus {command}: {str(error).partition(':')[0]}; isthmus {command} again goes on", err=True)
        raise typer.Exit(1) from error
    except (LinkError, ContextError, KubeError, OSError) as error:
        for line in error.problems if isinstance(error, LinkError) else (str(error),):
            typer.echo(f"isthmus {command}: {line}", err=True)
        raise typer.Exit(2) from error
