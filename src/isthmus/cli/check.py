"""``isthmus check``: whether links hold, step by step, tried from the gateways themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isthmus.cli import completion
from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Context, Kubeconfig, Namespace

if TYPE_CHECKING:
    from isthmus.doctor.checking import Checked

EPILOG = epilog(
    {
        0: "every step of every link has passed",
        1: "a step has failed",
        2: "the cluster, the context or the peer is not there",
        3: "nothing has failed, but a step could not be proved",
    },
    "isthmus check",
    "isthmus check green-mesh -n red-mesh-system",
    "isthmus check green-mesh --context red --wait 60",
    "isthmus check -o junit > links.xml",
)
AGAIN_S = 1.0


def check(
    peer: Annotated[
        str, typer.Argument(help="Name of a ServiceMeshPeer; all of them without one.", autocompletion=completion.peers)
    ] = "",
    *,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Annotated[
        Literal["text", "json", "junit"], typer.Option("--output", "-o", help="text, json or junit.")
    ] = "text",
    wait: Annotated[
        float, typer.Option(help="Check again until all holds, for so many seconds; 0 checks once.", min=0)
    ] = 0.0,
) -> None:
    """Check links from end to end: resources, trust, gateways, the way to the peer step by step, and a real request.

    The control plane has its gateways try; all that one needs is the right to patch the ServiceMeshPeer.
    """
    import asyncio

    from lightkube.core.exceptions import ConfigError

    from isthmus.doctor.checking import NoPeerError, exit_code
    from isthmus.doctor.contexts import ContextError
    from isthmus.kube.errors import KubeError

    where = (context or None, kubeconfig)
    try:
        checked = asyncio.run(_checked(peer or None, namespace or None, *where, wait_s=wait))
    except (NoPeerError, ContextError, ConfigError, KubeError) as error:
        typer.echo(f"isthmus check: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(_shown(checked, output))
    raise typer.Exit(exit_code(checked))


async def _checked(
    peer: str | None, namespace: str | None, context: str | None, kubeconfig: Path | None, *, wait_s: float
) -> "list[Checked]":
    import asyncio

    from isthmus.doctor.checking import NoPeerError, check_peers, exit_code, find_peers
    from isthmus.doctor.contexts import connect
    from isthmus.kube.errors import TryAgain

    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    async with connect(context, kubeconfig=kubeconfig) as client:
        while True:
            is_last = loop.time() + AGAIN_S > deadline
            try:
                found = await check_peers(client, await find_peers(client, peer, namespace=namespace))
            except (NoPeerError, TryAgain):
                if is_last:
                    raise
            else:
                if is_last or exit_code(found) == 0:
                    return found
            await asyncio.sleep(AGAIN_S)


def _shown(checked: "list[Checked]", output: str) -> str:
    from isthmus.doctor.checking import as_json, as_junit, as_text

    match output:
        case "json":
            return as_json(checked)
        case "junit":
            return as_junit(checked)
        case _:
            return as_text(checked)
