"""``isthmus status``: every mesh and peer that one can see, from resources alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isthmus.cli import completion
from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Kubeconfig, Namespace

if TYPE_CHECKING:
    from isthmus.doctor.links import LinkLine

EPILOG = epilog(
    {0: "all is shown, whatever it says", 2: "the cluster of a context could not be read; the others are shown"},
    "isthmus status",
    "isthmus status --all-contexts -o wide",
    "isthmus status --watch",
)
LOOK_S = 1.0

Format = Literal["text", "wide", "json", "yaml"]


def status(
    *,
    namespace: Namespace = "",
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="Context of the kubeconfig, several times for several; else the current.",
            autocompletion=completion.contexts,
        ),
    ] = None,
    all_contexts: Annotated[bool, typer.Option("--all-contexts", help="Every context of the kubeconfig.")] = False,
    kubeconfig: Kubeconfig = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="text, wide, json or yaml.")] = "text",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show what changes, until Ctrl-C.")] = False,
) -> None:
    """Show every mesh and peer, both directions of each link in one line, and why one is not ready.

    What is shown is what control planes have written into resources: isthmus check tries anew.
    """
    import asyncio

    from isthmus.doctor.contexts import ContextError, context_names

    try:
        named: list[str | None] = [*(context_names(kubeconfig) if all_contexts else context or ())]
        is_whole = asyncio.run(_show(named or [None], namespace or None, kubeconfig, output, watch=watch))
    except ContextError as error:
        typer.echo(f"isthmus status: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        return
    if not is_whole:
        raise typer.Exit(2)


async def _show(
    contexts: list[str | None], namespace: str | None, kubeconfig: Path | None, output: Format, *, watch: bool
) -> bool:
    """Show once, or what is new for as long as it is watched; whether every context could be read."""
    import asyncio

    from isthmus.doctor.links import Resources, Unreadable, link_lines, read_contexts

    told: set[LinkLine | Unreadable] = set()
    is_first = True
    while True:
        found = await read_contexts(contexts, namespace=namespace, kubeconfig=kubeconfig)
        unreadable = {each for each in found if isinstance(each, Unreadable)}
        lines = [line for each in found if isinstance(each, Resources) for line in link_lines(each)]
        for each in sorted(unreadable - told, key=lambda each: each.context):
            typer.echo(f"isthmus status: {each.context}: {each.why}".replace(": : ", ": "), err=True)
        new = [line for line in lines if line not in told]
        if new or is_first:
            typer.echo(_shown(new, output, contexts=len(contexts) > 1, header=is_first, watch=watch))
        if not watch:
            return not unreadable
        told, is_first = {*lines, *unreadable}, False
        await asyncio.sleep(LOOK_S)


def _shown(lines: "list[LinkLine]", output: Format, *, contexts: bool, header: bool, watch: bool) -> str:
    import json

    import yaml

    from isthmus.doctor.links import Layout, as_object, table

    match output:
        case "json" if watch:
            return "\n".join(json.dumps(as_object(line), ensure_ascii=False) for line in lines)
        case "json":
            return json.dumps([as_object(line) for line in lines], indent=2, ensure_ascii=False)
        case "yaml":
            return yaml.safe_dump([as_object(line) for line in lines], sort_keys=False, allow_unicode=True).rstrip()
        case _ if not lines:
            return "No ServiceMeshControlPlane and no ServiceMeshPeer is there."
        case _:
            layout = Layout(is_wide=output == "wide", has_contexts=contexts, has_header=header)
            return table(lines, layout, now=datetime.now(UTC))
