"""``isthmus logs``: the lines of all logs that concern one peer, merged by time."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isthmus.cli import completion
from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Kubeconfig, contexts_option, listed, namespace_option

if TYPE_CHECKING:
    from isthmus.doctor.peer_logs import Clusters, Entry, Source, Wish

LOGS_EPILOG = epilog(
    {0: "done, or stopped by Ctrl-C", 2: "there is no such peer, or a cluster does not answer"},
    "isthmus logs green-mesh",
    "isthmus logs green-mesh --contexts red,green --since 10m",
    "isthmus logs green-mesh --contexts red,green -f",
    "isthmus logs green-mesh -n red-mesh-system -o json | jq 'select(.fields.level == \"error\")'",
)


def logs(
    peer: Annotated[
        str, typer.Argument(metavar="PEER", help="Name of a ServiceMeshPeer.", autocompletion=completion.peers)
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    since: Annotated[str, typer.Option(help="Only what is not older: 90s, 10m, 1h30m.")] = "",
    tail: Annotated[
        int | None, typer.Option(min=0, help="Lines of each pod to look at; 1000 without --since.", show_default=False)
    ] = None,
    contexts: Annotated[
        str,
        contexts_option("Contexts A,B,… of the clusters of both sides; the current one if left out."),
    ] = "",
    namespace: Annotated[
        str,
        namespace_option("Namespace of the ServiceMeshPeer."),
    ] = "",
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text, or JSON lines.")] = "text",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what the control plane and the gateways say of one peer, merged by time.

    With the contexts of both sides, it is the logs of both: six components and all of their pods.
    """
    import asyncio

    from isthmus.cli.stopping import until_stopped
    from isthmus.doctor.contexts import ContextError
    from isthmus.doctor.peer_logs import LogsError, Wish
    from isthmus.kube.errors import KubeError

    wish = Wish(since=_since(since), tail=1000 if tail is None and not since else tail)
    printer = _Printer(output)
    work = _work(
        peer, listed(contexts), kubeconfig, namespace=namespace, wish=wish, is_following=follow, printer=printer
    )
    try:
        asyncio.run(until_stopped(work))
    except BrokenPipeError:
        printer.silence()
    except (LogsError, ContextError, KubeError) as error:
        typer.echo(f"isthmus logs: {error}", err=True)
        raise typer.Exit(2) from error


def _since(text: str) -> timedelta | None:
    from isthmus.doctor.peer_logs import duration

    try:
        return duration(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error


class _Printer:
    """Prints entries; the column of where they are from is as wide as the widest."""

    def __init__(self, output: str) -> None:
        import sys

        self._is_json = output == "json"
        self._has_colour = sys.stdout.isatty()
        self._width = 0

    def prepare(self, sources: "list[Source]") -> None:
        self._width = max(len(f"{each.mesh} {each.component}") for each in sources)

    def __call__(self, entry: "Entry") -> None:
        import sys

        from isthmus.doctor.peer_logs import as_json, as_text

        line = as_json(entry) if self._is_json else as_text(entry, width=self._width, has_colour=self._has_colour)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def silence(self) -> None:
        """Whoever read us has gone: nothing more may be written, also not at the end of the process."""
        import os
        import sys

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _work(
    peer: str,
    contexts: list[str],
    kubeconfig: Path | None,
    *,
    namespace: str,
    wish: "Wish",
    is_following: bool,
    printer: _Printer,
) -> None:
    from isthmus.doctor.peer_logs import connect_all, sources

    async with connect_all(contexts, kubeconfig) as clusters:
        chosen = sources(await clusters.read(namespace), peer, namespace=namespace)
        printer.prepare(chosen)
        if is_following:
            await _follow(clusters, chosen, wish, printer)
        else:
            await _read(clusters, chosen, wish, printer)


async def _read(clusters: "Clusters", sources: "list[Source]", wish: "Wish", printer: _Printer) -> None:
    from isthmus.doctor.peer_logs import read_all

    for entry in await read_all(clusters, sources, wish, _complain()):
        printer(entry)


async def _follow(clusters: "Clusters", sources: "list[Source]", wish: "Wish", printer: _Printer) -> None:
    from isthmus.doctor.peer_logs import follow

    is_heard = True
    async with follow(clusters, sources, wish, _complain()) as entries:
        async for entry in entries:
            try:
                printer(entry)
            except BrokenPipeError:
                is_heard = False
                break
    if not is_heard:  # raised outside of the block, whose tasks would make a group of it
        raise BrokenPipeError


def _complain() -> "Callable[[str], None]":
    """Tell each problem once: what is tried again and again is not told again and again."""
    told: set[str] = set()

    def complain(what: str) -> None:
        if what not in told:
            told.add(what)
            typer.echo(f"isthmus logs: {what}", err=True)

    return complain
