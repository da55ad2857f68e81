"""``isthmus lint``: what is wrong with files, without a cluster."""

from typing import Annotated, Literal

import typer

from isthmus.cli.epilogs import epilog

LINT_EPILOG = epilog(
    {
        0: "no errors",
        1: "errors (with --strict, warnings too)",
        2: "a file cannot be read, is no YAML, or no file has a resource of a federation",
    },
    "isthmus lint -f deploy/",
    "isthmus lint -f red/ -f green/ --strict",
    "kustomize build overlays/red | isthmus lint -f - -f green/ -o json",
)


def lint(
    *,
    filename: Annotated[
        list[str], typer.Option("--filename", "-f", help="A file, a folder with all below it, or - for standard input.")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text or json.")] = "text",
) -> None:
    """Find what is wrong with files of any number of meshes, without a cluster.

    Fields and values, gateways, roots and rules of each mesh are checked, and whether the two sides of each pair of
    meshes fit each other. Give the files of all meshes at once.
    """
    import json
    from datetime import UTC, datetime

    from isthmus.doctor.lint import LintInputError, Severity, as_json, as_text, read_sources
    from isthmus.doctor.lint import lint as examine

    try:
        sources = read_sources(filename)
    except LintInputError as error:
        typer.echo(f"isthmus lint: {error}", err=True)
        raise typer.Exit(2) from error
    report = examine(sources, now=datetime.now(UTC))
    typer.echo(json.dumps(as_json(report), indent=2) if output == "json" else as_text(report))
    if not report.is_usable:
        if not report.resources:
            typer.echo("isthmus lint: no resource of a federation in these files", err=True)
        raise typer.Exit(2)
    if report.count(Severity.ERROR) or (strict and report.count(Severity.WARNING)):
        raise typer.Exit(1)
