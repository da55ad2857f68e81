"""``isthmus preview``: what rules would share, withdraw and shadow, before they are applied."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Kubeconfig

if TYPE_CHECKING:
    from isthmus.pilot.preview import Previewed


EPILOG = epilog(
    {0: "nothing is wrong with the rules", 1: "something is", 2: "a file or the cluster cannot be read"},
    "isthmus preview -f red/exportedserviceset.yaml",
    "isthmus preview -f exports.yaml -f imports.yaml -o json",
)


def preview(
    *,
    filename: Annotated[
        list[Path], typer.Option("--filename", "-f", help="File with ExportedServiceSets or ImportedServiceSets.")
    ],
    kubeconfig: Kubeconfig = None,
    cluster_domain: Annotated[str, typer.Option(help="DNS domain of the cluster.")] = "cluster.local",
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text or json.")] = "text",
) -> None:
    """Show what the rules in these files would do to the cluster; nothing is written."""
    import asyncio
    import json

    from lightkube.core.exceptions import ConfigError

    from isthmus.kube.errors import KubeError
    from isthmus.pilot import preview as room

    try:
        found = asyncio.run(room.preview(filename, kubeconfig=kubeconfig, cluster_domain=cluster_domain))
    except (room.PreviewError, KubeError, ConfigError) as error:
        typer.echo(f"isthmus preview: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(json.dumps([_as_json(each) for each in found], indent=2) if output == "json" else _as_text(found))
    if any(each.preview.problems for each in found):
        raise typer.Exit(1)


def _as_text(found: "list[Previewed]") -> str:
    return "\n".join(line for each in found for line in _lines(each))


def _lines(found: "Previewed") -> list[str]:
    shown = found.preview
    arrow = "<-" if found.kind == "ExportedServiceSet" else "->"
    return [
        f"{found.kind} {found.namespace}/{found.name}",
        *(f"  + {exported} {arrow} {local}" for exported, local in shown.added.items()),
        *(f"  - {exported} {arrow} {local}" for exported, local in shown.removed.items()),
        *(f"  ~ {each.exported} {arrow} {each.after} (was {each.before})" for each in shown.renamed),
        *(f"  ! {problem.message}" for problem in shown.problems),
        *_unlisted(found.unlisted),
        f"  {len(shown.added)} more, {len(shown.removed)} less, {len(shown.renamed)} changed, {shown.kept} as before",
    ]


def _unlisted(count: int) -> list[str]:
    return [f"  ? {count} more services are on offer, which the status does not list: not tried"] if count else []


def _as_json(found: "Previewed") -> dict[str, Any]:
    shown = found.preview
    return {
        "kind": found.kind,
        "namespace": found.namespace,
        "name": found.name,
        "added": dict(shown.added),
        "removed": dict(shown.removed),
        "changed": [{"exported": each.exported, "before": each.before, "after": each.after} for each in shown.renamed],
        "kept": shown.kept,
        "unlisted": found.unlisted,
        "problems": [{"rule": each.rule, "reason": each.reason, "message": each.message} for each in shown.problems],
    }
